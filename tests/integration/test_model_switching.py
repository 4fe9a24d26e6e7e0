"""Models that take turns on a device with its own memory. Main memory takes the place of GPU memory here."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from imagegen.engine.compile.accelerator import Variant
from imagegen.engine.engine import Engine
from imagegen.engine.models.budget import MemoryBudget
from imagegen.schema.models import AdapterSource
from tests.hub.loras import diffusers_lora
from tests.integration.engine_harness import EngineHarness, get_final_image, run_together


@pytest.fixture
def engine(harness: EngineHarness) -> Engine:
    """Returns a store with room for one model on the device, and for all in main memory."""
    for name in ("tiny-sd15", "tiny-sd21"):
        harness.engine.warm(harness.model(name)[1])
    engine = Engine("cpu")
    engine.store.budget = MemoryBudget(
        1.1 * harness.engine.store.models["tiny-sd21"].size_bytes, 1e12, has_device_memory=True
    )
    return engine


@pytest.fixture
def twin(harness: EngineHarness) -> str:
    """Returns a model of tiny-sd15's architecture with other weights."""
    _, source = harness.model("tiny-sd15")
    folder = harness.folder / "twin"
    if not folder.exists():
        shutil.copytree(source.path, folder)
        file = folder / "unet" / "diffusion_pytorch_model.safetensors"
        save_file({name: weight * 1.1 for name, weight in load_file(file).items()}, file, {"format": "pt"})
    return folder.name


def generate_on_engine(engine: Engine, bench: EngineHarness, name: str, *adapters: AdapterSource) -> bytes:
    return get_final_image(run_together(engine, bench.make_inputs(name, adapters))[0]).tobytes()


def list_models_on_device(engine: Engine) -> list[str]:
    return [name for name, loaded in engine.store.models.items() if loaded.is_on_device]


def test_each_paints_its_own_pictures_however_often_they_take_turns(
    engine: Engine, harness: EngineHarness, twin: str
) -> None:
    names = ("tiny-sd15", twin, "tiny-sd21")
    expected = {name: harness.generate_image(name).tobytes() for name in names}
    assert len(set(expected.values())) == 3
    for name in (*names, *reversed(names), *names):
        assert generate_on_engine(engine, harness, name) == expected[name]
        assert list_models_on_device(engine) == [name]
    assert set(engine.store.models) == set(names)


def test_a_model_takes_the_place_of_another_of_its_architecture(
    engine: Engine, harness: EngineHarness, twin: str
) -> None:
    """With all accelerated variants of it."""
    generate_on_engine(engine, harness, "tiny-sd15")
    first = engine.store.models["tiny-sd15"]
    weight = first.denoiser.get_parameter("conv_in.weight")
    home = weight.data
    assert first.shared_networks is not None
    first.shared_networks.networks["unet"].accelerator.variants["some"] = Variant(
        passes=9, accelerated=lambda **_: None
    )
    generate_on_engine(engine, harness, twin)
    second = engine.store.models[twin]
    assert second.denoiser.get_parameter("conv_in.weight").data_ptr() == home.data_ptr()
    assert weight.data_ptr() != home.data_ptr()
    assert second.shared_networks is not None
    assert second.shared_networks.networks["unet"].accelerator.variants["some"].passes == 9
    generate_on_engine(engine, harness, "tiny-sd21")
    third = engine.store.models["tiny-sd21"]
    assert third.mode == "off"
    assert (
        third.shared_networks is not None and "some" not in third.shared_networks.networks["unet"].accelerator.variants
    )


def test_loras_stay_on_the_model_they_were_merged_into(engine: Engine, harness: EngineHarness, twin: str) -> None:
    file = harness.folder / "loras" / "of-one-place.safetensors"
    diffusers_lora(harness.model("tiny-sd15")[1].path, file, 7)
    adapters = harness.loras.get_source(file.stem, 0.9)
    plain, with_lora = (
        harness.generate_image("tiny-sd15").tobytes(),
        harness.generate_image("tiny-sd15", [adapters]).tobytes(),
    )
    other = harness.generate_image(twin).tobytes()
    assert generate_on_engine(engine, harness, "tiny-sd15", adapters) == with_lora
    assert generate_on_engine(engine, harness, twin) == other
    assert generate_on_engine(engine, harness, "tiny-sd15") == plain
    assert generate_on_engine(engine, harness, "tiny-sd15", adapters) == with_lora


def test_where_main_memory_is_short_a_model_leaves_for_the_disk(
    engine: Engine, harness: EngineHarness, twin: str
) -> None:
    size = harness.engine.store.models["tiny-sd15"].size_bytes
    engine.store.budget = MemoryBudget(1.5 * size, 1.2 * size, has_device_memory=True)
    for name in ("tiny-sd15", twin, "tiny-sd15"):
        assert generate_on_engine(engine, harness, name) == harness.generate_image(name).tobytes()
        assert list(engine.store.models) == [name]


def test_half_precision_paints_what_full_precision_paints(harness: EngineHarness, tmp_path: Path) -> None:
    """Also if the autoencoder's configuration declares that it does not fit into float16."""
    engine = Engine("cpu")
    engine.store.dtype = torch.float16
    job_inputs = [harness.make_inputs("tiny-sdxl", seed=seed, steps=3) for seed in (1, 2)]
    found = [get_final_image(events) for events in run_together(engine, *job_inputs)]
    vae = engine.store.models["tiny-sdxl"].pipeline.vae
    assert vae.dtype == torch.float32 and not vae.config["force_upcast"]
    for image, inputs in zip(found, job_inputs, strict=True):
        precise = get_final_image(harness.run(inputs))
        gap = torch.tensor(list(image.tobytes())).float() - torch.tensor(list(precise.tobytes())).float()
        assert 10 * torch.log10(255**2 / gap.square().mean()) > 30
