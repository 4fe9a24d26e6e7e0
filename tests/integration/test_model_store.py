"""Which models stay in memory, and that evicted models free it."""

from __future__ import annotations

import gc
import json
import shutil
import weakref
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file

from imagegen.engine.engine import Engine, EngineResult
from imagegen.engine.models.budget import MemoryBudget, compute_gpu_budget, compute_memory_budget
from imagegen.engine.models.loading import load_pipeline
from imagegen.engine.models.network_cache import NetworkCache
from imagegen.engine.models.offload import choose_offload_mode
from imagegen.engine.models.store import ModelStore
from imagegen.errors import ModelLoadFailed, ModelTooLarge, NonFiniteLatents, PackageMissing
from imagegen.schema.events import Loading
from imagegen.schema.models import Quantization
from imagegen.workers.engine_host import EngineHost
from imagegen.workers.messages import WorkerConfig
from tests.integration.conftest import EMBEDDED
from tests.integration.engine_harness import EngineHarness, new_control

CPU = torch.device("cpu")
NAMES = ("tiny-sd15", "tiny-sd21", "tiny-flux-dev")


def store_for(bench: EngineHarness, room: float) -> ModelStore:
    """Returns a store on a CPU with room for a number of bytes."""
    return ModelStore(CPU, torch.float32, MemoryBudget(room, room, "auto"), NetworkCache(CPU, torch.float32, {}))


def size_of(bench: EngineHarness, name: str) -> int:
    store = store_for(bench, 1e12)
    with store.use(bench.model(name)[1]) as loaded:
        return loaded.size_bytes


def test_a_model_is_loaded_at_first_use_and_stays(harness: EngineHarness) -> None:
    harness.engine.release("tiny-sd15")
    first, second = (harness.run(harness.make_inputs("tiny-sd15", steps=1)) for _ in range(2))
    assert any(isinstance(event, Loading) for event in first)
    assert not any(isinstance(event, Loading) for event in second)


def test_the_one_used_least_recently_leaves_first(harness: EngineHarness) -> None:
    sizes = [size_of(harness, name) for name in NAMES]
    store = store_for(harness, sum(sizes) - 1)
    for name in (NAMES[0], NAMES[1], NAMES[0], NAMES[2]):
        with store.use(harness.model(name)[1]):
            pass
    assert list(store.models) == [NAMES[0], NAMES[2]]


def test_one_in_use_never_leaves(harness: EngineHarness) -> None:
    store = store_for(harness, 1)
    with store.use(harness.model(NAMES[0])[1]), store.use(harness.model(NAMES[1])[1]):
        store.release(NAMES[0])
        assert list(store.models) == [NAMES[0], NAMES[1]]
    store.release(NAMES[0])
    assert NAMES[0] not in store.models


def test_listeners_are_notified_of_loaded_models(harness: EngineHarness) -> None:
    seen: list[tuple[str, ...]] = []
    engine = Engine("cpu", on_change=lambda: seen.append(tuple(engine.store.models)))
    engine.warm(harness.model(NAMES[0])[1])
    engine.release(NAMES[0])
    assert seen == [(NAMES[0],), ()]
    assert engine.store.measure_usage() == {"cpu": 0}


def test_switches_among_three_models_leave_memory_flat(harness: EngineHarness) -> None:
    """With room for one model, each switch loads from disk, and the previous one must be freed completely.

    It counts what is alive. The memory of the process also has the gaps that all earlier tests left.
    """
    store = store_for(harness, 1)

    def switch(times: int) -> int:
        for place in range(times):
            with store.use(harness.model(NAMES[place % 3])[1]):
                pass
        return measure_tensors()

    assert switch(3) == switch(9)
    assert len(store.models) == 1
    store.release(NAMES[2])
    mapped = [file.path for file in psutil.Process().memory_maps() if file.path.endswith(".safetensors")]
    assert not [path for path in mapped if any(name in path for name in NAMES)]


def measure_tensors() -> int:
    """Returns the bytes of all tensors that are alive in this process."""
    gc.collect()
    tensors = [each for each in gc.get_objects() if isinstance(each, torch.Tensor)]
    storages = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in tensors}
    return sum(storages.values())


@pytest.mark.parametrize(
    ("budget", "mode"), [(7e9, "off"), (6.9e9, "encoders"), (5.4e9, "encoders"), (5.2e9, "offload"), (5e9, "layers")]
)
def test_a_model_that_is_larger_than_the_device_shares_it(budget: float, mode: str) -> None:
    """Returns the sizes of Stable Diffusion XL's components in half precision, in bytes."""
    parts = {"unet": 5_135_000_000, "vae": 167_000_000, "text_encoder": 246_000_000, "text_encoder_2": 1_389_000_000}
    assert choose_offload_mode("auto", parts, budget) == mode
    assert choose_offload_mode("off", parts, budget) == "off"


def test_budgets_are_those_of_the_machine_unless_configured() -> None:
    assert compute_memory_budget(3) == compute_gpu_budget(CPU, 3) == 3e9
    assert 0 < compute_memory_budget(None) <= psutil.virtual_memory().total / 2


@pytest.mark.parametrize("memory_gb", [None, 8.0])
def test_several_workers_divide_main_memory(memory_gb: float | None, tmp_path: Path) -> None:
    """Each may use its part for all models, and the same part of what one worker may use for a single model."""
    config = WorkerConfig(
        name="cpu:1", model=EMBEDDED, data_dir=tmp_path, device="cpu", log_format="text", memory_gb=memory_gb
    )
    alone, one_of_two = (
        EngineHost(config.model_copy(update={"worker_count": count}), lambda _: None).engine.store.budget
        for count in (1, 2)
    )
    assert one_of_two.memory_bytes == one_of_two.device_bytes == alone.memory_bytes / 2
    assert one_of_two.max_model_bytes == alone.max_model_bytes / 2


def test_a_model_with_undefined_weights_paints_nothing(harness: EngineHarness) -> None:
    _, source = harness.model("tiny-sd15")
    copy = copy_model_folder(source.path, harness.folder / "undefined")
    file = copy / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({name: weight * float("nan") for name, weight in load_file(file).items()}, file)
    with pytest.raises(NonFiniteLatents, match="infinite or NaN at step 1"):
        harness.generate_image("undefined")


def test_a_model_with_mismatched_weights_is_named_in_the_error(harness: EngineHarness) -> None:
    _, source = harness.model("tiny-sd15")
    copy = copy_model_folder(source.path, harness.folder / "mixed")
    config = json.loads((copy / "unet" / "config.json").read_text())
    (copy / "unet" / "config.json").write_text(json.dumps(config | {"block_out_channels": [64, 128]}))
    with pytest.raises(ModelLoadFailed, match="The model mixed cannot be loaded"):
        harness.generate_image("mixed")


def copy_model_folder(folder: Path, to: Path) -> Path:
    for file in folder.rglob("*"):
        if file.is_file():
            target = to / file.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    return to


@pytest.mark.parametrize(("kind", "package"), [("int8", "bitsandbytes"), ("nf4", "bitsandbytes"), ("gguf", "gguf")])
def test_a_quantization_whose_package_is_missing_names_it(
    harness: EngineHarness, kind: Quantization, package: str
) -> None:
    _, source = harness.model("tiny-flux-dev")
    with pytest.raises(PackageMissing, match=f"tiny-flux-dev in {kind} needs the Python package {package}"):
        Engine("cpu").warm(source.model_copy(update={"quantization": kind}))


def test_fp8_halves_a_denoiser_and_still_paints(harness: EngineHarness) -> None:
    inputs, engine = harness.make_inputs("tiny-flux-dev"), Engine("cpu")
    whole = size_of(harness, "tiny-flux-dev")
    assert inputs.model is not None
    small = inputs.model.model_copy(update={"quantization": "fp8"})
    *_, last = engine.generate(type(inputs)(inputs.request, small), control=new_control())
    assert isinstance(last, EngineResult)
    assert engine.store.models["tiny-flux-dev"].size_bytes < whole
    assert last.receipts[0].quantization == "fp8"


def test_a_model_whose_files_were_replaced_is_loaded_again(harness: EngineHarness) -> None:
    _, source = harness.model("tiny-sd15")
    copy = copy_model_folder(source.path, harness.folder / "changing")
    before = harness.generate_image("changing")
    file = copy / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({name: weight * 0.9 for name, weight in load_file(file).items()}, file)
    assert harness.generate_image("changing").tobytes() != before.tobytes()


def test_a_model_that_cannot_fit_is_refused_before_it_is_loaded(harness: EngineHarness) -> None:
    engine = Engine("cpu", memory_gb=0.001)
    with pytest.raises(ModelTooLarge, match=r"tiny-sd15 needs 14.4 MB of memory; the limit is 1.0 MB"):
        engine.warm(harness.model("tiny-sd15")[1])


def test_an_evicted_model_holds_no_memory(harness: EngineHarness) -> None:
    store = store_for(harness, 1e12)
    with store.use(harness.model("tiny-sd15")[1]) as loaded:
        network = weakref.ref(loaded.denoiser)
    store.release("tiny-sd15")
    assert network() is None


def test_a_configuration_that_names_code_is_loaded_without_it(tmp_path: Path) -> None:
    shutil.copytree(EMBEDDED.path, tmp_path / "model")
    for part in ("text_encoder", "unet", "vae"):
        file = tmp_path / "model" / part / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"_attn_implementation": "someone/kernels"}))
    pipeline: Any = load_pipeline(EMBEDDED.model_copy(update={"path": tmp_path / "model"}), torch.float32)
    assert pipeline.text_encoder.config._attn_implementation == "sdpa"


def test_the_error_of_a_broken_model_names_no_path_of_the_server(tmp_path: Path) -> None:
    shutil.copytree(EMBEDDED.path, tmp_path / "model")
    (tmp_path / "model" / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(ModelLoadFailed) as failure:
        load_pipeline(EMBEDDED.model_copy(update={"path": tmp_path / "model"}), torch.float32)
    assert str(tmp_path) not in str(failure.value)
