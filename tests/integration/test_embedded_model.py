"""The embedded model is a stock pipeline, small and fast to load, and follows the prompt."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoPipelineForImage2Image, AutoPipelineForInpainting, AutoPipelineForText2Image
from PIL import Image

from training.color_check import background_and_shape, colors_of_pair
from training.judge import classify_pictures, load_judge

SIZE = 256


@pytest.fixture(scope="module")
def pipeline(model_folder: Path) -> Any:
    pipeline = AutoPipelineForText2Image.from_pretrained(model_folder, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def generate_with_embedded_model(
    pipeline: Any, prompt: str, seed: int = 0, **options: Any
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    generator = torch.Generator("cpu").manual_seed(seed)
    output = pipeline(prompt, generator=generator, **{"num_inference_steps": 20, "guidance_scale": 3.0, **options})
    return np.asarray(output.images[0])


@pytest.mark.parametrize(
    ("prompt", "background", "color"),
    [
        ("a red circle on a blue background", "blue", "red"),
        ("a yellow star on a purple background", "purple", "yellow"),
        ("a large black heart on a pink background", "pink", "black"),
        ("white background, a green square", "white", "green"),
        ("an orange triangle on a gray background", "gray", "orange"),
        ("a scarlet ring in front of an emerald background", "green", "red"),
    ],
)
def test_a_shape_has_its_colours(pipeline: Any, prompt: str, background: str, color: str) -> None:
    assert background_and_shape(generate_with_embedded_model(pipeline, prompt), "plain") == (background, color)


@pytest.mark.parametrize(
    ("prompt", "shows"),
    [
        ("mountains at night", {"scene": "mountains", "time": "night"}),
        ("the sea at sunset", {"scene": "sea", "time": "sunset"}),
        ("a city at noon", {"scene": "city", "time": "day"}),
        ("desert dunes at sunrise", {"scene": "desert", "time": "sunrise"}),
        ("a forest, watercolor", {"scene": "forest", "style": "watercolor"}),
        ("a line drawing of mountains", {"place": "scene", "style": "line drawing"}),
    ],
)
def test_a_scene_is_what_and_when_it_should_be(pipeline: Any, prompt: str, shows: dict[str, str]) -> None:
    (seen,) = classify_pictures(load_judge(), generate_with_embedded_model(pipeline, prompt)[None])
    assert {name: seen[name] for name in shows} == shows


@pytest.mark.parametrize(
    ("prompt", "layout", "colors"),
    [
        ("a red circle left of a blue square on a white background", "beside", ("red", "blue")),
        ("a yellow star above a purple heart on a white background", "above", ("yellow", "purple")),
        ("a green car beside an orange house, white background", "beside", ("green", "orange")),
    ],
)
def test_each_of_two_things_has_its_own_colour(
    pipeline: Any, prompt: str, layout: str, colors: tuple[str, str]
) -> None:
    assert colors_of_pair(generate_with_embedded_model(pipeline, prompt), "plain", layout) == colors


def test_words_that_it_does_not_know_do_no_harm(pipeline: Any) -> None:
    prompt = "masterpiece, a red circle by Rembrandt on a blue background, zxqv, 4k!!"
    assert background_and_shape(generate_with_embedded_model(pipeline, prompt), "plain") == ("blue", "red")


def test_a_negative_prompt_keeps_something_out(pipeline: Any) -> None:
    with_blue = generate_with_embedded_model(pipeline, "a red circle")
    without = generate_with_embedded_model(
        pipeline, "a red circle", negative_prompt="a red circle on a white background", guidance_scale=6.0
    )
    assert np.abs(with_blue.astype(int) - without.astype(int)).mean() > 5


def test_a_picture_leads_to_a_picture(pipeline: Any) -> None:
    image_to_image = AutoPipelineForImage2Image.from_pipe(pipeline)
    start = Image.fromarray(generate_with_embedded_model(pipeline, "a red circle on a blue background"))
    made = generate_with_embedded_model(
        image_to_image, "a red circle on a yellow background", image=start, strength=0.95
    )
    assert background_and_shape(made, "plain")[0] == "yellow"


def test_the_inside_of_a_mask_is_painted_anew(pipeline: Any) -> None:
    inpainting = AutoPipelineForInpainting.from_pipe(pipeline)
    start = generate_with_embedded_model(pipeline, "a red circle on a blue background")
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[:, SIZE // 2 :] = 255
    made = generate_with_embedded_model(
        inpainting,
        "a yellow background",
        image=Image.fromarray(start),
        mask_image=Image.fromarray(mask),
        width=SIZE,
        height=SIZE,
        strength=1.0,
    )
    change = np.abs(made.astype(int) - start.astype(int)).mean(axis=(0, 2))
    assert change[: SIZE // 2 - 16].mean() < 0.3 * change[SIZE // 2 + 16 :].mean()


def test_it_is_small(model_folder: Path) -> None:
    weights = sum(file.stat().st_size for file in model_folder.rglob("*.safetensors"))
    assert weights < 30e6
