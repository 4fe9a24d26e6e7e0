"""Networks that get quicker while they work, and nobody who waits for it."""

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

from imagegen.engine.compiling import compiled
from imagegen.engine.engine import Engine, Work
from imagegen.engine.quick import OFTEN, Quick, Workshop
from tests.integration.conftest import EMBEDDED, request
from tests.integration.tiny import image_of, run_together


class Slowly(Workshop):
    """Compiles when it is told to."""

    def __init__(self, folder: Path) -> None:
        super().__init__(torch.device("cpu"), folder)
        self.orders: list[Future[Any]] = []
        self.examples: list[dict[str, Any]] = []
        self.networks: list[Any] = []

    def compiled(self, network: Any, method: Any, example: Any) -> Future[Any]:
        self.orders.append(Future())
        self.examples.append(example)
        self.networks.append(network)
        return self.orders[-1]


def doubled(sample: Tensor, timestep: Tensor, **_: Any) -> tuple[Tensor]:
    return (sample * 2 + timestep.reshape(-1, 1),)


def asked(rows: int, at: float = 3.0) -> dict[str, Any]:
    return {"sample": torch.arange(rows * 2.0).view(rows, 2), "timestep": torch.tensor(at), "return_dict": False}


@pytest.fixture
def workshop(tmp_path: Path) -> Slowly:
    return Slowly(tmp_path)


def test_a_pass_runs_as_before_until_something_quicker_is_ready(workshop: Slowly) -> None:
    quick = Quick(doubled, None, "forward", workshop)
    for _ in range(OFTEN + 2):
        assert torch.equal(quick("kind", asked(3), 3, 0)[0], doubled(**asked(3))[0])
    assert len(workshop.orders) == 1
    seen: list[int] = []

    def better(sample: Tensor, **options: Any) -> tuple[Tensor]:
        seen.append(len(sample))
        return doubled(sample, **options)

    workshop.orders[0].set_result(better)
    assert torch.equal(quick("kind", asked(3, at=7.0), 3, 0)[0], doubled(**asked(3, at=7.0))[0])
    assert seen == [4], "passes are filled up to a power of two"
    assert len(workshop.examples[0]["timestep"]) == 4


def test_what_comes_seldom_or_is_of_no_kind_is_left_as_it_is(workshop: Slowly) -> None:
    quick = Quick(doubled, None, "forward", workshop)
    for number in range(20):
        quick(None, asked(2), 2, 0)
        quick(f"kind {number}", asked(2), 2, 0)
    assert workshop.orders == []


def test_what_cannot_be_compiled_works_on_and_is_not_tried_again(
    workshop: Slowly, caplog: pytest.LogCaptureFixture
) -> None:
    quick = Quick(doubled, None, "forward", workshop)
    for number in range(20):
        assert torch.equal(quick("kind", asked(2), 2, 0)[0], doubled(**asked(2))[0])
        if number == OFTEN:
            workshop.orders[0].set_exception(RuntimeError("no compiler"))
    assert len(workshop.orders) == 1
    assert [record.message for record in caplog.records] == ["A network could not be compiled"]


def test_a_compiled_network_works_on_the_weights_there_are_and_is_kept_on_disk(tmp_path: Path) -> None:
    """So that LoRAs that are put into them are heard, and the next start need not compile."""
    network = thin_autoencoder()
    arguments = {"latents": torch.randn(2, 4, 8, 8), "return_dict": False}
    with torch.no_grad():
        run = compiled(network, "decode", arguments, tmp_path)
        assert torch.allclose(run(**arguments)[0], network.decode(**named(arguments))[0], atol=1e-5)
        for weight in network.parameters():
            weight.mul_(1.5)
        changed = network.decode(**named(arguments))[0]
        assert torch.allclose(run(**arguments)[0], changed, atol=1e-4)
        (file,) = tmp_path.glob("*.pt2")
        made = file.stat().st_mtime_ns
        again = compiled(network, "decode", arguments, tmp_path)
        assert torch.allclose(again(**arguments)[0], changed, atol=1e-4)
        assert file.stat().st_mtime_ns == made


def test_a_compiled_network_lets_go_of_its_weights(tmp_path: Path) -> None:
    network = thin_autoencoder()
    arguments = {"latents": torch.randn(2, 4, 8, 8), "return_dict": False}
    with torch.no_grad():
        run = compiled(network, "decode", arguments, tmp_path)
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


def named(arguments: dict[str, Any]) -> dict[str, Any]:
    return {"x": arguments["latents"], "return_dict": False}


class Decoding:
    def __init__(self, vae: Any) -> None:
        self.vae = vae

    def __call__(self, latents: Tensor, **options: Any) -> Any:
        return self.vae.decode(latents, **options)


def test_jobs_notice_nothing_but_the_time(tmp_path: Path) -> None:
    """Their passes change over in the middle of a run."""
    engine, workshop = Engine("cpu"), Slowly(tmp_path)
    engine.store.workshop = workshop
    works = [Work(request(steps=12, seed=seed), EMBEDDED) for seed in range(3)]
    expected = [image_of(run_together(engine, work)[0]) for work in works]
    pipeline = engine.store.held["embedded"].pipeline
    assert {id(network) for network in workshop.networks} == {id(pipeline.unet), id(pipeline.vae)}
    for order, network in zip(workshop.orders, workshop.networks, strict=True):
        order.set_result(network if network is pipeline.unet else Decoding(network))
    for image, events in zip(expected, run_together(engine, *works), strict=True):
        close = torch.tensor(list(image_of(events).tobytes())) - torch.tensor(list(image.tobytes()))
        assert close.abs().max() <= 1


def test_what_is_quick_makes_room_when_memory_is_short(tmp_path: Path) -> None:
    """And the pass that had none is tried again."""
    engine, workshop = Engine("cpu"), Slowly(tmp_path)
    engine.store.workshop = workshop
    work = Work(request(steps=12, seed=0), EMBEDDED)
    expected = image_of(run_together(engine, work)[0])

    def greedy(**_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    for order in workshop.orders:
        order.set_result(greedy)
    assert image_of(run_together(engine, work)[0]).tobytes() == expected.tobytes()
