"""Models that take turns on a device with memory of its own. Main memory plays that part here."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from imagegen.engine.engine import Engine
from imagegen.engine.quick import Way
from imagegen.engine.store import Budget
from imagegen.info import AdapterSource
from tests.hub.loras import diffusers_lora
from tests.integration.tiny import Bench, image_of, run_together


@pytest.fixture
def engine(bench: Bench) -> Engine:
    """With room for one of the models on the device, and for all of them in main memory."""
    for name in ("tiny-sd15", "tiny-sd21"):
        bench.engine.warm(bench.model(name)[1])
    engine = Engine("cpu")
    engine.store.budget = Budget(1.1 * bench.engine.store.held["tiny-sd21"].size, 1e12, separate=True)
    return engine


@pytest.fixture
def twin(bench: Bench) -> str:
    """Of the same architecture as tiny-sd15, with other weights."""
    _, source = bench.model("tiny-sd15")
    folder = bench.folder / "twin"
    if not folder.exists():
        shutil.copytree(source.path, folder)
        file = folder / "unet" / "diffusion_pytorch_model.safetensors"
        save_file({name: weight * 1.1 for name, weight in load_file(file).items()}, file, {"format": "pt"})
    return folder.name


def picture(engine: Engine, bench: Bench, name: str, *adapters: AdapterSource) -> bytes:
    return image_of(run_together(engine, bench.work(name, adapters))[0]).tobytes()


def on_device(engine: Engine) -> list[str]:
    return [name for name, held in engine.store.held.items() if held.on_device]


def test_each_paints_its_own_pictures_however_often_they_take_turns(engine: Engine, bench: Bench, twin: str) -> None:
    names = ("tiny-sd15", twin, "tiny-sd21")
    expected = {name: bench.picture(name).tobytes() for name in names}
    assert len(set(expected.values())) == 3
    for name in (*names, *reversed(names), *names):
        assert picture(engine, bench, name) == expected[name]
        assert on_device(engine) == [name]
    assert set(engine.store.held) == set(names)


def test_a_model_takes_the_place_of_another_of_its_architecture(engine: Engine, bench: Bench, twin: str) -> None:
    """With all that was made quick for it."""
    picture(engine, bench, "tiny-sd15")
    first = engine.store.held["tiny-sd15"]
    weight, home = first.pipeline.unet.conv_in.weight, first.pipeline.unet.conv_in.weight.data
    assert first.shared is not None
    first.shared.networks["unet"].quick.ways["some"] = Way(passes=9, quick=lambda **_: None)
    picture(engine, bench, twin)
    second = engine.store.held[twin]
    assert second.pipeline.unet.conv_in.weight.data_ptr() == home.data_ptr()
    assert weight.data_ptr() != home.data_ptr()
    assert second.shared is not None
    assert second.shared.networks["unet"].quick.ways["some"].passes == 9
    picture(engine, bench, "tiny-sd21")
    third = engine.store.held["tiny-sd21"]
    assert third.mode == "off"
    assert third.shared is not None and "some" not in third.shared.networks["unet"].quick.ways


def test_loras_stay_where_they_were_worn(engine: Engine, bench: Bench, twin: str) -> None:
    file = bench.folder / "loras" / "of-one-place.safetensors"
    diffusers_lora(bench.model("tiny-sd15")[1].path, file, 7)
    worn = bench.loras.source(file.stem, 0.9)
    plain, dressed = bench.picture("tiny-sd15").tobytes(), bench.picture("tiny-sd15", [worn]).tobytes()
    other = bench.picture(twin).tobytes()
    assert picture(engine, bench, "tiny-sd15", worn) == dressed
    assert picture(engine, bench, twin) == other
    assert picture(engine, bench, "tiny-sd15") == plain
    assert picture(engine, bench, "tiny-sd15", worn) == dressed


def test_where_main_memory_is_short_a_model_leaves_for_the_disk(engine: Engine, bench: Bench, twin: str) -> None:
    size = bench.engine.store.held["tiny-sd15"].size
    engine.store.budget = Budget(1.5 * size, 1.2 * size, separate=True)
    for name in ("tiny-sd15", twin, "tiny-sd15"):
        assert picture(engine, bench, name) == bench.picture(name).tobytes()
        assert list(engine.store.held) == [name]


def test_half_precision_paints_what_full_precision_paints(bench: Bench, tmp_path: Path) -> None:
    """Also where the autoencoder says that it does not fit into float16."""
    engine = Engine("cpu")
    engine.store.dtype = torch.float16
    works = [bench.work("tiny-sdxl", seed=seed, steps=3) for seed in (1, 2)]
    found = [image_of(events) for events in run_together(engine, *works)]
    vae = engine.store.held["tiny-sdxl"].pipeline.vae
    assert vae.dtype == torch.float32 and not vae.config.force_upcast
    for image, work in zip(found, works, strict=True):
        precise = image_of(bench.events(work))
        gap = torch.tensor(list(image.tobytes())).float() - torch.tensor(list(precise.tobytes())).float()
        assert 10 * torch.log10(255**2 / gap.square().mean()) > 30
