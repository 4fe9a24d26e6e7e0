"""Which models stay in memory, and that those which leave it do leave it."""

from __future__ import annotations

import json
import weakref
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file

from imagegen.engine.engine import Engine, Finished
from imagegen.engine.memory import chosen_mode, gpu_budget, memory_budget
from imagegen.engine.store import Budget, ModelStore
from imagegen.errors import BadLatents, ModelBroken, ModelTooLarge, PackageMissing
from imagegen.info import Quantization
from imagegen.schema import Loading
from tests.integration.tiny import Bench, unwatched

CPU = torch.device("cpu")
NAMES = ("tiny-sd15", "tiny-sd21", "tiny-flux-dev")


def store_for(bench: Bench, room: float) -> ModelStore:
    """On a CPU, with room for so many bytes."""
    return ModelStore(CPU, torch.float32, Budget(room, room, "auto"))


def size_of(bench: Bench, name: str) -> int:
    store = store_for(bench, 1e12)
    with store.using(bench.model(name)[1]) as held:
        return held.size


def test_a_model_is_loaded_when_it_is_asked_for_and_stays(bench: Bench) -> None:
    bench.engine.release("tiny-sd15")
    first, second = (bench.events(bench.work("tiny-sd15", steps=1)) for _ in range(2))
    assert any(isinstance(event, Loading) for event in first)
    assert not any(isinstance(event, Loading) for event in second)


def test_the_one_used_least_recently_leaves_first(bench: Bench) -> None:
    sizes = [size_of(bench, name) for name in NAMES]
    store = store_for(bench, sum(sizes) - 1)
    for name in (NAMES[0], NAMES[1], NAMES[0], NAMES[2]):
        with store.using(bench.model(name)[1]):
            pass
    assert list(store.held) == [NAMES[0], NAMES[2]]


def test_one_in_use_never_leaves(bench: Bench) -> None:
    store = store_for(bench, 1)
    with store.using(bench.model(NAMES[0])[1]), store.using(bench.model(NAMES[1])[1]):
        store.release(NAMES[0])
        assert list(store.held) == [NAMES[0], NAMES[1]]
    store.release(NAMES[0])
    assert NAMES[0] not in store.held


def test_everybody_hears_what_is_held(bench: Bench) -> None:
    seen: list[tuple[str, ...]] = []
    engine = Engine("cpu", changed=lambda: seen.append(tuple(engine.store.held)))
    engine.warm(bench.model(NAMES[0])[1])
    engine.release(NAMES[0])
    assert seen == [(NAMES[0],), ()]
    assert engine.store.memory() == {"cpu": 0}


def test_thirty_switches_among_three_models_leave_memory_flat(bench: Bench) -> None:
    """With room for one: each switch loads from disk, and the one before has to go, wholly."""
    store = store_for(bench, 1)
    process = psutil.Process()

    def switch(times: int) -> int:
        for place in range(times):
            with store.using(bench.model(NAMES[place % 3])[1]):
                pass
        return int(process.memory_info().rss)

    warm = switch(6)
    assert switch(30) < warm + 40e6
    assert len(store.held) == 1


@pytest.mark.parametrize(
    ("budget", "mode"), [(7e9, "off"), (6.9e9, "encoders"), (5.4e9, "encoders"), (5.2e9, "offload"), (5e9, "layers")]
)
def test_a_model_that_is_larger_than_the_device_shares_it(budget: float, mode: str) -> None:
    """The parts of Stable Diffusion XL in half precision, in bytes."""
    parts = {"unet": 5_135_000_000, "vae": 167_000_000, "text_encoder": 246_000_000, "text_encoder_2": 1_389_000_000}
    assert chosen_mode("auto", parts, budget) == mode
    assert chosen_mode("off", parts, budget) == "off"


def test_budgets_are_those_of_the_machine_unless_told() -> None:
    assert memory_budget(3) == gpu_budget(CPU, 3) == 3e9
    assert 0 < memory_budget(None) <= psutil.virtual_memory().total / 2


def test_a_model_with_undefined_weights_paints_nothing(bench: Bench) -> None:
    _, source = bench.model("tiny-sd15")
    copy = copied(source.path, bench.folder / "undefined")
    file = copy / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({name: weight * float("nan") for name, weight in load_file(file).items()}, file)
    with pytest.raises(BadLatents, match="infinite or undefined at step 1"):
        bench.picture("undefined")


def test_a_model_whose_weights_are_others_is_told_by_name(bench: Bench) -> None:
    _, source = bench.model("tiny-sd15")
    copy = copied(source.path, bench.folder / "mixed")
    config = json.loads((copy / "unet" / "config.json").read_text())
    (copy / "unet" / "config.json").write_text(json.dumps(config | {"block_out_channels": [64, 128]}))
    with pytest.raises(ModelBroken, match="The model mixed cannot be loaded"):
        bench.picture("mixed")


def copied(folder: Path, to: Path) -> Path:
    for file in folder.rglob("*"):
        if file.is_file():
            target = to / file.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    return to


@pytest.mark.parametrize(("kind", "package"), [("int8", "bitsandbytes"), ("nf4", "bitsandbytes"), ("gguf", "gguf")])
def test_a_quantization_whose_package_is_missing_names_it(bench: Bench, kind: Quantization, package: str) -> None:
    _, source = bench.model("tiny-flux-dev")
    with pytest.raises(PackageMissing, match=f"tiny-flux-dev in {kind} needs the Python package {package}"):
        Engine("cpu").warm(source.model_copy(update={"quantization": kind}))


def test_fp8_halves_a_denoiser_and_still_paints(bench: Bench) -> None:
    work, engine = bench.work("tiny-flux-dev"), Engine("cpu")
    whole = size_of(bench, "tiny-flux-dev")
    small = work.model.model_copy(update={"quantization": "fp8"})
    *_, last = engine.generate(type(work)(work.request, small), control=unwatched())
    assert isinstance(last, Finished)
    assert engine.store.held["tiny-flux-dev"].size < whole
    assert last.receipts[0].quantization == "fp8"


def test_a_model_whose_files_were_replaced_is_loaded_again(bench: Bench) -> None:
    _, source = bench.model("tiny-sd15")
    copy = copied(source.path, bench.folder / "changing")
    before = bench.picture("changing")
    file = copy / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({name: weight * 0.9 for name, weight in load_file(file).items()}, file)
    assert bench.picture("changing").tobytes() != before.tobytes()


def test_a_model_that_cannot_fit_is_refused_before_it_is_loaded(bench: Bench) -> None:
    engine = Engine("cpu", memory_gb=0.001)
    with pytest.raises(ModelTooLarge, match=r"tiny-sd15 needs 14.4 MB of memory, and may have 1.0 MB here"):
        engine.warm(bench.model("tiny-sd15")[1])


def test_one_that_was_forgotten_holds_nothing(bench: Bench) -> None:
    store = store_for(bench, 1e12)
    with store.using(bench.model("tiny-sd15")[1]) as held:
        network = weakref.ref(held.pipeline.unet)
    store.release("tiny-sd15")
    assert network() is None
