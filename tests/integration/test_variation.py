"""Variation seeds: the noise that a picture starts from is mixed with the noise of another seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from imagegen.engine.engine import Engine, EngineResult, JobInputs
from imagegen.engine.variation import slerp
from imagegen.schema.field_types import MAX_SEED
from imagegen.schema.validation import fill_in_defaults
from tests.hub.tiny import TINY
from tests.integration.conftest import EMBEDDED, INFO, Generate, request
from tests.integration.engine_harness import EngineHarness, get_final_image, run_together

START = Image.fromarray(np.linspace(0, 255, 64 * 64 * 3).reshape(64, 64, 3).astype(np.uint8))
NOISE_SHAPE = 1, 4, 8, 8


def draw_noise(seed: int) -> Tensor:
    return torch.randn(NOISE_SHAPE, generator=torch.Generator().manual_seed(seed))


def mix_as_the_web_ui(low: Tensor, high: Tensor, strength: float) -> NDArray[np.float64]:
    """Computes the web UI's formula with numpy, for noise of shape (channels, rows, columns)."""
    first, second = low.double().numpy(), high.double().numpy()
    cosine = (first / np.linalg.norm(first, axis=1, keepdims=True)) * (
        second / np.linalg.norm(second, axis=1, keepdims=True)
    )
    angle = np.arccos(cosine.sum(1, keepdims=True))
    mixed: NDArray[np.float64] = (np.sin((1 - strength) * angle) * first + np.sin(strength * angle) * second) / np.sin(
        angle
    )
    return mixed


@contextmanager
def record_first_latents(engine: Engine) -> Iterator[list[Tensor]]:
    """Records the latents of the denoiser's first call; they are the noise itself with DPM++ 2M."""
    engine.warm(EMBEDDED)
    recorded: list[Tensor] = []

    def record(_: object, arguments: Sequence[Tensor], options: dict[str, Tensor]) -> None:
        recorded.append((options["sample"] if "sample" in options else arguments[0]).clone())

    denoiser = engine.store.models["embedded"].denoiser
    hook = denoiser.register_forward_pre_hook(record, with_kwargs=True)
    try:
        yield recorded
    finally:
        hook.remove()


def test_at_strength_0_the_picture_is_the_same_to_the_bit(generate: Generate) -> None:
    for start in (None, START):
        plain, varied = generate(start), generate(start, variation_seed=5, variation_strength=0)
        assert varied.images[0].tobytes() == plain.images[0].tobytes()


def test_at_strength_1_it_is_the_picture_of_the_variation_seed_to_the_bit(generate: Generate) -> None:
    for start in (None, START):
        other, varied = generate(start, seed=5), generate(start, seed=1, variation_seed=5, variation_strength=1)
        assert varied.images[0].tobytes() == other.images[0].tobytes()


@pytest.mark.parametrize("strength", [0.1, 0.5, 0.9])
def test_between_them_the_noise_is_what_the_web_ui_computes(
    engine: Engine, generate: Generate, strength: float
) -> None:
    with record_first_latents(engine) as recorded:
        generate(seed=1, variation_seed=5, variation_strength=strength, guidance_scale=1.0)
    expected = mix_as_the_web_ui(draw_noise(1)[0], draw_noise(5)[0], strength)
    np.testing.assert_allclose(recorded[0][0].numpy(), expected, atol=1e-5)


def test_the_noise_that_is_added_to_a_start_image_is_varied_too(generate: Generate) -> None:
    first, varied, other = (
        generate(START, strength=0.6, seed=1, variation_seed=5, variation_strength=strength).images[0].tobytes()
        for strength in (0, 0.5, 1)
    )
    assert len({first, varied, other}) == 3


def test_in_a_batch_the_seed_stays_and_the_variation_seeds_count_up(generate: Generate) -> None:
    fields: dict[str, Any] = {"seed": 9, "variation_strength": 0.3}
    finished = generate(**fields, batch_size=3, variation_seed=MAX_SEED)
    found = [(receipt.seed, receipt.variation_seed, receipt.variation_strength) for receipt in finished.receipts]
    assert found == [(9, MAX_SEED, 0.3), (9, 0, 0.3), (9, 1, 0.3)]
    for image, receipt in zip(finished.images, finished.receipts, strict=True):
        alone = generate(**fields, variation_seed=receipt.variation_seed).images[0]
        assert measure_difference(image, alone) <= 1


def test_a_variation_in_company_is_the_one_that_it_is_alone(engine: Engine) -> None:
    def make_inputs(**fields: Any) -> JobInputs:
        return JobInputs(fill_in_defaults(request(steps=6, **fields), INFO, seed=1), EMBEDDED)

    jobs = [
        make_inputs(seed=3),
        make_inputs(seed=1, variation_seed=5, variation_strength=0.4),
        make_inputs(seed=1, variation_seed=6, variation_strength=0.4, sampler="Euler"),
    ]
    alone = [get_final_image(run_together(engine, each)[0]) for each in jobs]
    passes = engine.pass_timer.passes
    together = run_together(engine, *jobs)
    assert engine.pass_timer.passes - passes < sum(6 for _ in jobs), "the jobs shared their steps"
    assert max(measure_difference(*pair) for pair in zip(alone, map(get_final_image, together), strict=True)) <= 1


def test_random_numbers_of_later_steps_stay_those_of_the_seed(generate: Generate) -> None:
    """As in the web UI: with a sampler that adds noise at each step, strength 1 is not the other seed's picture."""
    fields: dict[str, Any] = {"sampler": "Euler a", "steps": 5}
    varied = generate(**fields, seed=1, variation_seed=5, variation_strength=1).images[0].tobytes()
    assert varied not in {generate(**fields, seed=seed).images[0].tobytes() for seed in (1, 5)}


def test_a_request_that_leaves_the_variation_seed_open_gets_one_and_only_then() -> None:
    varied = fill_in_defaults(request(variation_strength=0.5), INFO, 1, variation_seed=77)
    assert varied.variation_seed == 77
    assert fill_in_defaults(request(variation_seed=5, variation_strength=0.5), INFO, 1, 77).variation_seed == 5
    assert fill_in_defaults(request(), INFO, 1, 77).variation_seed is None
    assert fill_in_defaults(request(variation_seed=5), INFO, 1, 77) == fill_in_defaults(request(), INFO, 1, 78)


@pytest.mark.parametrize("name", TINY)
def test_every_family_varies_its_noise(harness: EngineHarness, name: str) -> None:
    fields: dict[str, Any] = {"sampler": "Euler", "seed": 1, "variation_seed": 2}
    plain, between, varied = (
        harness.generate_image(name, **fields, variation_strength=strength).tobytes() for strength in (0, 0.5, 1)
    )
    assert plain == harness.generate_image(name, sampler="Euler", seed=1).tobytes()
    assert varied == harness.generate_image(name, sampler="Euler", seed=2).tobytes()
    assert between not in (plain, varied)


@pytest.mark.parametrize("name", [name for name in TINY if name != "tiny-sana"])
def test_every_family_varies_the_noise_on_a_start_image(harness: EngineHarness, name: str) -> None:
    images = []
    for strength in (0, 0.5, 1):
        inputs = harness.make_inputs(
            name, start=START, sampler="Euler", seed=1, variation_seed=5, variation_strength=strength, batch_size=2
        )
        *_, last = harness.run(inputs)
        assert isinstance(last, EngineResult)
        images += [image.tobytes() for image in last.images]
    assert len(set(images)) == 6


def test_noise_with_few_rows_stays_finite() -> None:
    low, high = (torch.randn(4, 1, 8, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    assert torch.isfinite(slerp(low, high, 0.5)).all()
    opposite = slerp(low, -low, 0.25)
    assert torch.allclose(opposite, low / 2)


def test_a_seed_mixed_with_itself_stays_as_it_is() -> None:
    noise = draw_noise(1)[0]
    assert torch.allclose(slerp(noise, noise, 0.3), noise)


def test_noise_keeps_its_dtype_and_its_magnitude() -> None:
    low, high = (torch.randn(4, 64, 64, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    mixed = slerp(low.bfloat16(), high.bfloat16(), 0.5)
    assert mixed.dtype == torch.bfloat16
    assert abs(float(mixed.float().std()) - 1) < 0.05


def measure_difference(first: Image.Image, second: Image.Image) -> int:
    """Returns the largest difference of all pixels, in steps of 1/255."""
    return int(np.abs(np.asarray(first, np.int16) - np.asarray(second, np.int16)).max())
