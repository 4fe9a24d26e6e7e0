"""Previews are small and cheap, and rendered only while there are viewers."""

from __future__ import annotations

import base64
import json
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from imagegen.engine.engine import Engine, JobInputs
from imagegen.engine.families.registry import MODEL_FAMILIES
from imagegen.engine.previews.projection import Projection, find_projection, render_latent_preview
from imagegen.engine.step_callback import PREVIEW_INTERVAL_SECONDS
from imagegen.schema.events import Progress
from tests.integration.conftest import EMBEDDED, new_control, request

RED_BY_FIRST_CHANNEL = Projection(np.eye(4, 3, dtype=np.float32), np.zeros(3, np.float32))


def opened(text: str) -> Image.Image:
    image = Image.open(BytesIO(base64.b64decode(text)))
    assert image.format == "JPEG"
    return image


def steps_of(engine: Engine, watch_after: int | None, steps: int = 4, sampler: str = "Euler") -> list[Progress]:
    """Returns the progress of a job to which a viewer connects after some steps."""
    control = new_control()
    seen: list[Progress] = []
    if watch_after == 0:
        control.wants_previews.set()
    for event in engine.generate(JobInputs(request(steps=steps, sampler=sampler), EMBEDDED), control):
        if isinstance(event, Progress):
            seen.append(event)
        if len(seen) == watch_after:
            control.wants_previews.set()
    return seen


def test_no_preview_is_rendered_without_a_viewer(engine: Engine) -> None:
    assert [step.preview for step in steps_of(engine, watch_after=None)] == [None] * 4


def test_a_viewer_gets_a_preview_of_the_first_step_and_none_of_the_last(engine: Engine) -> None:
    first, *_, last = steps_of(engine, watch_after=0)
    assert first.preview is not None
    assert opened(first.preview).size == (64, 64)
    assert last.preview is None


def test_who_comes_later_gets_them_from_then_on(engine: Engine) -> None:
    first, *others = steps_of(engine, watch_after=1, steps=20)
    assert first.preview is None
    assert any(step.preview for step in others)


def test_they_come_at_a_sensible_rate(engine: Engine) -> None:
    engine.warm(EMBEDDED)
    began = time.monotonic()
    made = [step for step in steps_of(engine, watch_after=0, steps=20) if step.preview]
    assert len(made) <= 1 + (time.monotonic() - began) / PREVIEW_INTERVAL_SECONDS < 100


def test_colours_are_those_of_the_projection() -> None:
    latents = torch.tensor([1.0, 0.5, 0.0, 3.0])[None, :, None, None].expand(1, 4, 16, 16)
    image = opened(render_latent_preview(latents, RED_BY_FIRST_CHANNEL))
    red, green, blue = image.resize((1, 1)).getpixel((0, 0))  # type: ignore[misc]
    assert red > 245
    assert abs(green - 127) < 8
    assert blue < 10


@pytest.mark.parametrize(("shape", "size"), [((16, 16), (128, 128)), ((128, 128), (192, 192)), ((64, 32), (96, 192))])
def test_they_are_small(shape: tuple[int, int], size: tuple[int, int]) -> None:
    text = render_latent_preview(torch.randn(1, 4, *shape), RED_BY_FIRST_CHANNEL)
    assert opened(text).size == size
    assert len(text) < 40_000


@pytest.mark.parametrize("count", range(1, 9))
def test_a_batch_is_seen_whole(count: int) -> None:
    latents = torch.zeros(count, 4, 16, 16)
    latents[:, 0] = 1
    image = np.asarray(opened(render_latent_preview(latents, RED_BY_FIRST_CHANNEL)))
    share = (image[..., 0] > 128).mean()
    assert share == pytest.approx({5: 5 / 6, 7: 7 / 9}.get(count, 1), abs=0.05), "these two leave a gap"


def test_half_precision_latents_are_fine() -> None:
    assert render_latent_preview(torch.zeros(1, 4, 8, 8, dtype=torch.bfloat16), RED_BY_FIRST_CHANNEL)


def test_a_model_can_have_its_own_projection(tmp_path: Path) -> None:
    (tmp_path / "preview.json").write_text(json.dumps({"matrix": [[1, 0, 0]] * 4, "bias": [0, 0.5, 1]}))
    projection = find_projection(tmp_path, None, 4)
    assert projection is not None
    assert projection.matrix.shape == (4, 3)
    assert projection.bias.tolist() == [0, 0.5, 1]


@pytest.mark.parametrize(
    ("pipeline", "channels"),
    [
        ("StableDiffusionPipeline", 4),
        ("StableDiffusionXLPipeline", 4),
        ("StableDiffusion3Pipeline", 16),
        ("FluxPipeline", 16),
        ("ZImagePipeline", 16),
    ],
)
def test_known_families_have_one(tmp_path: Path, pipeline: str, channels: int) -> None:
    projection = find_projection(tmp_path, MODEL_FAMILIES[pipeline].preview_projection, channels)
    assert projection is not None
    assert projection.matrix.shape == (channels, 3)


def test_each_family_has_its_own() -> None:
    first, second = (
        MODEL_FAMILIES[pipeline].preview_projection
        for pipeline in ("StableDiffusionPipeline", "StableDiffusionXLPipeline")
    )
    assert first is not None and second is not None
    assert not np.array_equal(first.matrix, second.matrix)


def test_latents_with_other_channels_than_the_familys_have_no_published_projection(tmp_path: Path) -> None:
    for pipeline, channels in (("StableDiffusionPipeline", 16), ("FluxPipeline", 4), ("Flux2KleinPipeline", 32)):
        assert find_projection(tmp_path, MODEL_FAMILIES[pipeline].preview_projection, channels) is None
