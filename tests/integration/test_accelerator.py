"""Networks are accelerated in the background, and no pass waits for that."""

from __future__ import annotations

import gc
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderTiny
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from imagegen.engine.compile.accelerator import PASSES_BEFORE_ACCELERATION, Accelerator, CompilePool
from imagegen.engine.compile.compiler import load_or_compile
from imagegen.engine.engine import Engine, JobInputs
from tests.integration.conftest import EMBEDDED, request
from tests.integration.engine_harness import get_final_image, run_together

# The compiler has the lowest priority: beside other programs a minute becomes many.
COMPILES = pytest.mark.timeout(1200)


class ManualCompilePool(CompilePool):
    """A compile pool that compiles when a test lets it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(torch.device("cpu"), folder)
        self.pending_compiles: list[Future[Any]] = []
        self.examples: list[dict[str, Any]] = []
        self.networks: list[Any] = []

    def submit(self, network: Any, method: Any, example: Any) -> Future[Any]:
        self.pending_compiles.append(Future())
        self.examples.append(example)
        self.networks.append(network)
        return self.pending_compiles[-1]


def double_sample(sample: Tensor, timestep: Tensor, **_: Any) -> tuple[Tensor]:
    return (sample * 2 + timestep.reshape(-1, 1),)


def make_arguments(rows: int, timestep: float = 3.0) -> dict[str, Any]:
    return {"sample": torch.arange(rows * 2.0).view(rows, 2), "timestep": torch.tensor(timestep), "return_dict": False}


@pytest.fixture
def compile_pool(tmp_path: Path) -> ManualCompilePool:
    return ManualCompilePool(tmp_path)


def test_a_pass_runs_as_before_until_a_faster_variant_is_ready(compile_pool: ManualCompilePool) -> None:
    accelerator = Accelerator(double_sample, None, "forward", compile_pool)
    for _ in range(PASSES_BEFORE_ACCELERATION + 2):
        assert torch.equal(accelerator("kind", make_arguments(3), 3, 0)[0], double_sample(**make_arguments(3))[0])
    assert len(compile_pool.pending_compiles) == 1
    seen: list[int] = []

    def better(sample: Tensor, **options: Any) -> tuple[Tensor]:
        seen.append(len(sample))
        return double_sample(sample, **options)

    compile_pool.pending_compiles[0].set_result(better)
    assert torch.equal(
        accelerator("kind", make_arguments(3, timestep=7.0), 3, 0)[0],
        double_sample(**make_arguments(3, timestep=7.0))[0],
    )
    assert seen == [4], "passes are filled up to a power of two"
    assert len(compile_pool.examples[0]["timestep"]) == 4


def test_what_comes_seldom_or_is_of_no_kind_is_left_as_it_is(compile_pool: ManualCompilePool) -> None:
    accelerator = Accelerator(double_sample, None, "forward", compile_pool)
    for number in range(20):
        accelerator(None, make_arguments(2), 2, 0)
        accelerator(f"kind {number}", make_arguments(2), 2, 0)
    assert compile_pool.pending_compiles == []


def test_what_cannot_be_compiled_works_on_and_is_not_tried_again(
    compile_pool: ManualCompilePool, caplog: pytest.LogCaptureFixture
) -> None:
    accelerator = Accelerator(double_sample, None, "forward", compile_pool)
    for number in range(20):
        assert torch.equal(accelerator("kind", make_arguments(2), 2, 0)[0], double_sample(**make_arguments(2))[0])
        if number == PASSES_BEFORE_ACCELERATION:
            compile_pool.pending_compiles[0].set_exception(RuntimeError("no compiler"))
    assert len(compile_pool.pending_compiles) == 1
    assert [record.message for record in caplog.records] == ["A network could not be compiled"]


@pytest.fixture(scope="module")
def compile_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where compiled networks are kept, so that the first test that needs the network compiles it for all."""
    return tmp_path_factory.mktemp("compiled")


@COMPILES
def test_a_compiled_network_uses_the_current_weights_and_is_cached_on_disk(compile_folder: Path) -> None:
    """LoRAs that are merged into the weights take effect, and the next start need not compile."""
    network = thin_autoencoder()
    arguments = {"latents": torch.randn(2, 4, 8, 8), "return_dict": False}
    with torch.no_grad():
        run = load_or_compile(network, "decode", arguments, compile_folder)
        assert torch.allclose(run(**arguments)[0], network.decode(**to_decode_arguments(arguments))[0], atol=1e-5)
        for weight in network.parameters():
            weight.mul_(1.5)
        changed = network.decode(**to_decode_arguments(arguments))[0]
        assert torch.allclose(run(**arguments)[0], changed, atol=1e-4)
        (file,) = compile_folder.glob("*.pt2")
        made = file.stat().st_ino
        again = load_or_compile(network, "decode", arguments, compile_folder)
        assert torch.allclose(again(**arguments)[0], changed, atol=1e-4)
        assert file.stat().st_ino == made, "it was not compiled again"
    assert {each.name for each in compile_folder.iterdir()} == {
        file.name,
        file.with_suffix(".safetensors").name,
        file.with_suffix(".lock").name,
    }


@COMPILES
def test_a_compiled_network_frees_its_weights(compile_folder: Path) -> None:
    network = thin_autoencoder()
    arguments = {"latents": torch.randn(2, 4, 8, 8), "return_dict": False}
    with torch.no_grad():
        run = load_or_compile(network, "decode", arguments, compile_folder)
        run(**arguments)
    weights = [StorageWeakRef(weight.untyped_storage()) for weight in network.decoder.parameters()]
    del network
    gc.collect()
    assert not any(weight.expired() for weight in weights), "it works on them"
    del run
    gc.collect()
    assert all(weight.expired() for weight in weights)


def thin_autoencoder() -> AutoencoderTiny:
    torch.manual_seed(0)
    thin = {"encoder_block_out_channels": (8,), "num_encoder_blocks": (1,)}
    return AutoencoderTiny(**thin, decoder_block_out_channels=(8,), num_decoder_blocks=(1,)).eval()


def to_decode_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    return {"x": arguments["latents"], "return_dict": False}


class DecodeWrapper:
    def __init__(self, vae: Any) -> None:
        self.vae = vae

    def __call__(self, latents: Tensor, **options: Any) -> Any:
        return self.vae.decode(latents, **options)


def test_jobs_notice_nothing_but_the_time(tmp_path: Path) -> None:
    """Passes switch over in the middle of a job."""
    engine, compile_pool = Engine("cpu"), ManualCompilePool(tmp_path)
    engine.store.compile_pool = compile_pool
    job_inputs = [JobInputs(request(steps=12, seed=seed), EMBEDDED) for seed in range(3)]
    expected = [get_final_image(run_together(engine, inputs)[0]) for inputs in job_inputs]
    model = engine.store.models["embedded"]
    assert {id(network) for network in compile_pool.networks} == {id(model.denoiser), id(model.pipeline.vae)}
    for pending_compile, network in zip(compile_pool.pending_compiles, compile_pool.networks, strict=True):
        pending_compile.set_result(network if network is model.denoiser else DecodeWrapper(network))
    for image, events in zip(expected, run_together(engine, *job_inputs), strict=True):
        close = torch.tensor(list(get_final_image(events).tobytes())) - torch.tensor(list(image.tobytes()))
        assert close.abs().max() <= 1


def test_compiled_networks_are_dropped_when_memory_is_short(tmp_path: Path) -> None:
    """And the pass that ran out of memory is tried again."""
    engine, compile_pool = Engine("cpu"), ManualCompilePool(tmp_path)
    engine.store.compile_pool = compile_pool
    inputs = JobInputs(request(steps=12, seed=0), EMBEDDED)
    expected = get_final_image(run_together(engine, inputs)[0])

    def run_out_of_memory(**_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    for pending_compile in compile_pool.pending_compiles:
        pending_compile.set_result(run_out_of_memory)
    assert get_final_image(run_together(engine, inputs)[0]).tobytes() == expected.tobytes()
