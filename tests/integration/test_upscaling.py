"""Upscalers in the engine: tiles, sizes, alpha, and the stages of a job."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from imagegen.engine.engine import Engine, EngineResult, JobInputs
from imagegen.engine.upscaling import enlarge
from imagegen.engine.upscaling.tiles import plan_tiles
from imagegen.errors import ModelLoadFailed
from imagegen.library.snapshots import Snapshots
from imagegen.library.upscalers import KIND, UpscalerIndex
from imagegen.schema.events import Cancelled, Progress
from imagegen.schema.models import UpscalerSource
from imagegen.schema.request import GenerationRequest
from imagegen.settings import ASSETS_DIR
from tests.hub.upscalers import (
    make_compact,
    make_esrgan,
    to_numbered_layout,
    to_trunk_layout,
    write_upscaler,
)
from tests.integration.conftest import ANY_IMAGE, EMBEDDED, new_control, request
from tests.integration.engine_harness import run_until_cancelled
from training.dataset import draw_example

LANCZOS = UpscalerSource(id="Lanczos", name="Lanczos")


def draw_picture(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Returns a picture with a different colour at each place."""
    values = np.random.default_rng(1).integers(0, 256, (height, width, len(mode)), dtype=np.uint8)
    return Image.fromarray(values, mode)


def get_source(folder: Path, network: nn.Module | dict[str, torch.Tensor], name: str = "mine") -> UpscalerSource:
    tensors = network.state_dict() if isinstance(network, nn.Module) else network
    write_upscaler(folder / f"{name}.safetensors", tensors)
    return UpscalerIndex(KIND, (folder,), Snapshots()).get_source(name)


def make_inputs(image: Image.Image, upscaler: UpscalerSource, scale: float = 4) -> JobInputs:
    asked = GenerationRequest(image=ANY_IMAGE, scale=scale, upscaler=upscaler.id)
    return JobInputs(asked, None, input_images={"image": image}, upscalers={"upscaler": upscaler})


def run(engine: Engine, inputs: JobInputs) -> EngineResult:
    *_, last = engine.generate(inputs, new_control())
    assert isinstance(last, EngineResult)
    return last


def enlarge_whole(network: nn.Module, image: Image.Image) -> np.ndarray:
    """Returns what a network makes of a whole picture at once."""
    pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        output = network(pixels)[0].clamp(0, 1)
    whole: np.ndarray = (output * 255).round().permute(1, 2, 0).byte().numpy()
    return whole


NETWORKS = {
    "compact": make_compact(),
    "esrgan": make_esrgan(),
    "esrgan x2 unshuffled": make_esrgan(unshuffle=2),
    "esrgan x1 unshuffled": make_esrgan(unshuffle=4, blocks=1),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_tiles_give_the_picture_that_the_network_makes_of_the_whole(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(enlarge, "DEFAULT_TILE_SIDE", 104)
    network, image = NETWORKS[name], draw_picture(200, 120)
    source = get_source(tmp_path, network)
    assert source.scale is not None
    result = run(engine, make_inputs(image, source, scale=source.scale)).images[0]
    difference = np.abs(np.asarray(result).astype(int) - enlarge_whole(network, image))
    assert difference.max() <= 1 and (difference > 0).mean() < 0.001


def test_all_layouts_of_a_network_give_the_same_picture(engine: Engine, tmp_path: Path) -> None:
    tensors, image = make_esrgan().state_dict(), draw_picture(24, 16)
    layouts = {"new": tensors, "trunk": to_trunk_layout(tensors), "numbered": to_numbered_layout(tensors)}
    pictures = [
        run(engine, make_inputs(image, get_source(tmp_path, layout, name))).images[0].tobytes()
        for name, layout in layouts.items()
    ]
    assert pictures[0] == pictures[1] == pictures[2]


@pytest.mark.parametrize(
    ("network", "scale", "size"),
    [
        (make_compact(scale=4), 2, (40, 24)),
        (make_compact(scale=2), 5, (100, 60)),
        (make_compact(scale=1), 1, (20, 12)),
        (make_compact(scale=1), 3, (60, 36)),
        (make_compact(scale=2), 1.6, (32, 19)),
        (make_esrgan(unshuffle=2), 2, (40, 24)),
    ],
)
def test_a_network_makes_each_size(
    engine: Engine, tmp_path: Path, network: nn.Module, scale: float, size: tuple[int, int]
) -> None:
    result = run(engine, make_inputs(draw_picture(20, 12), get_source(tmp_path, network), scale))
    assert result.images[0].size == size
    receipt = result.receipts[0]
    assert receipt.size == size and (receipt.width, receipt.height) == (20, 12)


def test_an_odd_side_is_no_problem_for_a_network_that_takes_squares(engine: Engine, tmp_path: Path) -> None:
    source = get_source(tmp_path, make_esrgan(unshuffle=2))
    assert run(engine, make_inputs(draw_picture(21, 13), source, 2)).images[0].size == (42, 26)


def test_the_receipt_of_a_larger_picture_has_all_that_decided_it(engine: Engine, tmp_path: Path) -> None:
    source = get_source(tmp_path, make_compact())
    receipt = run(engine, make_inputs(draw_picture(20, 12), source)).receipts[0]
    assert (receipt.image, receipt.scale, receipt.upscaler, receipt.upscaler_sha256) == (
        ANY_IMAGE, 4, "mine", source.sha256,
    )  # fmt: skip
    assert (receipt.prompt, receipt.seed, receipt.model_id, receipt.steps) == ("", None, None, None)
    assert receipt.task == "upscale"
    assert receipt.to_request_fields() == {"image": ANY_IMAGE, "scale": 4, "upscaler": "mine"}


def test_alpha_is_kept_and_hidden_colours_do_not_show(engine: Engine, tmp_path: Path) -> None:
    image = Image.new("RGBA", (16, 16), (0, 255, 0, 0))
    image.paste((255, 0, 0, 255), (4, 4, 12, 12))
    result = run(engine, make_inputs(image, LANCZOS, 2)).images[0]
    assert result.mode == "RGBA" and result.size == (32, 32)
    pixels = np.asarray(result)
    assert pixels[16, 16].tolist() == [255, 0, 0, 255] and pixels[0, 0, 3] == 0
    visible = pixels[pixels[..., 3] > 0]
    assert visible[:, 0].min() > 200 and visible[:, 1].max() < 50, "the green of transparent pixels shows"


def test_progress_is_by_tile_and_a_cancel_ends_the_job_between_tiles(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enlarge, "DEFAULT_TILE_SIDE", 32)
    inputs = make_inputs(draw_picture(60, 40), get_source(tmp_path, make_compact()))
    *events, last = engine.generate(inputs, new_control())
    progress = [event for event in events if isinstance(event, Progress)]
    assert isinstance(last, EngineResult)
    assert [event.step for event in progress] == list(range(1, progress[-1].steps + 1)) and len(progress) > 3
    assert progress[-1].fraction == 1
    *some, cancelled = run_until_cancelled(engine, inputs, at=2)
    assert isinstance(cancelled, Cancelled) and len(some) == 2


def test_other_jobs_go_on_between_tiles(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enlarge, "DEFAULT_TILE_SIDE", 32)
    order: list[str] = []
    inputs = make_inputs(draw_picture(60, 60), get_source(tmp_path, make_compact()))
    jobs = [
        engine.submit(each, new_control(), lambda event, name=name: order.append(name))  # type: ignore[misc]
        for name, each in (("larger", inputs), ("painted", JobInputs(request(steps=4), EMBEDDED)))
    ]
    for job in jobs:
        job.result()
    first, last = order.index("painted"), len(order) - 1 - order[::-1].index("painted")
    assert "larger" in order[first:last], order


def test_a_painted_picture_is_made_larger_in_a_stage_of_its_own(engine: Engine) -> None:
    asked = request(scale=2, upscaler="Lanczos")
    inputs = JobInputs(asked, EMBEDDED, upscalers={"upscaler": LANCZOS})
    *events, last = engine.generate(inputs, new_control())
    assert isinstance(last, EngineResult)
    plain = run(engine, JobInputs(request(), EMBEDDED)).images[0]
    width, height = plain.size
    expected = plain.resize((2 * width, 2 * height), Image.Resampling.LANCZOS)
    assert last.images[0].tobytes() == expected.tobytes()
    stages = [(event.stage, event.stages) for event in events if isinstance(event, Progress)]
    assert stages[0] == (1, 2) and stages[-1] == (2, 2)
    receipt = last.receipts[0]
    assert (receipt.width, receipt.scale, receipt.upscaler) == (width, 2, "Lanczos")
    assert receipt.size == (2 * width, 2 * height)


def test_a_file_that_changed_is_refused_by_name(engine: Engine, tmp_path: Path) -> None:
    source = get_source(tmp_path, make_compact(features=4))
    (tmp_path / "mine.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelLoadFailed, match="mine"):
        engine.submit(
            make_inputs(draw_picture(8, 8), source.model_copy(update={"sha256": "other"})), new_control(), print
        ).result()


@pytest.mark.parametrize("size", [(1, 1), (192, 192), (193, 50), (1000, 777)])
@pytest.mark.parametrize(("radius", "multiple"), [(18, 1), (400, 1), (36, 4)])
def test_tiles_cover_a_picture_once(size: tuple[int, int], radius: int, multiple: int) -> None:
    covered = np.zeros(size[::-1], int)
    for tile in plan_tiles(size, 192, radius, multiple):
        left, top, right, bottom = tile.kept
        covered[top:bottom, left:right] += 1
        assert tile.seen[0] <= left and tile.seen[1] <= top and tile.seen[2] >= right and tile.seen[3] >= bottom
        assert max(tile.seen[2] - tile.seen[0], tile.seen[3] - tile.seen[1]) <= 192 + 2 * multiple
        assert tile.seen[0] % multiple == tile.seen[1] % multiple == 0
    assert (covered == 1).all()


@pytest.mark.parametrize("way", [Image.Resampling.BOX, Image.Resampling.BICUBIC])
def test_the_shipped_upscaler_is_better_than_lanczos_on_drawings(engine: Engine, way: Image.Resampling) -> None:
    source = UpscalerIndex(KIND, (ASSETS_DIR / "upscalers",), Snapshots()).get_source("studio-x4")
    gains = []
    for seed in range(4):
        large = Image.fromarray(draw_example(seed, 512)[1])
        small = large.resize((128, 128), way)
        ours = run(engine, make_inputs(small, source)).images[0]
        lanczos = small.resize(large.size, Image.Resampling.LANCZOS)
        gains.append(measure_decibels(ours, large) - measure_decibels(lanczos, large))
    assert np.mean(gains) > 1, gains


def measure_decibels(image: Image.Image, original: Image.Image) -> float:
    error = np.square(np.asarray(image).astype(float) - np.asarray(original)).mean()
    return float(10 * np.log10(255**2 / error))
