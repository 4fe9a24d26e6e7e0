"""ControlNets of flow-matching models and union ControlNets: pictures are those of diffusers' own pipelines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    ControlNetUnionModel,
    FluxControlNetModel,
    FluxControlNetPipeline,
    SD3ControlNetModel,
    StableDiffusion3ControlNetPipeline,
    StableDiffusionXLControlNetUnionPipeline,
    ZImageControlNetModel,
    ZImageControlNetPipeline,
)
from PIL import Image
from safetensors.torch import load_file

from imagegen.engine.engine import JobInputs
from imagegen.engine.samplers import create_scheduler
from imagegen.errors import InvalidRequest, ModelLoadFailed
from imagegen.schema.adapter_fields import set_adapter_fields
from tests.hub import controlnets
from tests.hub.loras import diffusers_lora
from tests.integration.engine_harness import ANY_IMAGE, EngineHarness, get_final_image
from tests.integration.test_batching import PassCounter, difference
from tests.integration.test_controls import LINES, START, find_controlnets

PLAIN: dict[str, Any] = {"sampler": "Euler", "steps": 4}
SAVE: Mapping[str, Callable[..., None]] = {
    "tiny-sd3": controlnets.save_sd3_controlnet,
    "tiny-flux-dev": controlnets.save_flux_controlnet,
    "tiny-flux-schnell": controlnets.save_flux_controlnet,
    "tiny-z-image": controlnets.save_z_image_controlnet,
}
# Models with the configurations of their ControlNets, and the controls of a request.
CASES: dict[str, tuple[str, list[dict[str, Any]], list[dict[str, Any]]]] = {
    "sd3": ("tiny-sd3", [{}], [{"weight": 0.6, "start": 0.25, "end": 0.75}]),
    "sd3 twice": ("tiny-sd3", [{}, {"num_layers": 2}], [{}, {"weight": 0.5}]),
    "sd3 large": ("tiny-sd3", [{"is_large": True}], [{}]),
    "flux": ("tiny-flux-dev", [{}], [{"weight": 0.6, "start": 0.25, "end": 0.75}]),
    "flux twice": ("tiny-flux-dev", [{}, {}], [{}, {"weight": 0.5}]),
    "flux union": ("tiny-flux-dev", [{"num_mode": 7}], [{"control_type": "depth"}]),
    "flux pixels": (
        "tiny-flux-dev",
        [{"patch_size": 2, "conditioning_embedding_channels": 16, "num_layers": 1, "num_single_layers": 0}],
        [{}],
    ),
    "flux without guidance": ("tiny-flux-schnell", [{"guidance_embeds": True}], [{}]),
    "z-image": ("tiny-z-image", [{}], [{"weight": 0.6}]),
    "z-image 2": ("tiny-z-image", [{"control_layers_places": [0, 1], "control_in_dim": 33}], [{}]),
}


def get_guidance(name: str) -> float:
    """Returns the guidance scale for a model."""
    return 1.0 if name == "tiny-flux-schnell" else 4.0


def save_networks(harness: EngineHarness, case: str) -> tuple[str, list[str]]:
    """Returns the model of a case, and the ids of its ControlNets, which are on disk then."""
    name, configs, _ = CASES[case]
    harness.model(name)
    ids = [f"{case.replace(' ', '-')}-{number}" for number in range(len(configs))]
    for number, (reference, config) in enumerate(zip(ids, configs, strict=True)):
        folder = harness.folder / "controlnets" / reference
        if not folder.exists():
            SAVE[name](harness.folder / name, folder, seed=number, **config)
    return name, ids


def make_inputs(
    harness: EngineHarness, case: str, uses: list[dict[str, Any]] | None = None, **fields: Any
) -> JobInputs:
    """Returns the inputs of a job with the ControlNets of a case; with no `uses`, those of the case."""
    name, ids = save_networks(harness, case)
    uses = CASES[case][2] if uses is None else uses
    index = find_controlnets(harness)
    sources = [index.get_source(reference) for reference, _ in zip(ids, uses, strict=False)]
    adapters = [*fields.pop("loras_used", ()), *sources]
    controls = [{"controlnet": each.id, "image": ANY_IMAGE} | use for each, use in zip(sources, uses, strict=True)]
    inputs = harness.make_inputs(
        name, adapters, controls=controls, **PLAIN | {"guidance_scale": get_guidance(name)} | fields
    )
    images = {f"controls[{number}].image": LINES for number in range(len(uses))}
    request = set_adapter_fields(inputs.request, harness.model(name)[0], adapters)
    return JobInputs(request, inputs.model, adapters, {**inputs.input_images, **images})


def paint(harness: EngineHarness, case: str, uses: list[dict[str, Any]] | None = None, **fields: Any) -> Image.Image:
    return get_final_image(harness.run(make_inputs(harness, case, uses, **fields)))


def paint_with_diffusers(harness: EngineHarness, case: str) -> Image.Image:
    """Returns the picture of diffusers' pipeline, whose autoencoder gives control maps the most likely latents."""
    name, ids = save_networks(harness, case)
    uses = CASES[case][2]
    folders = [harness.folder / "controlnets" / reference for reference in ids]
    weights: Any = [use.get("weight", 1.0) for use in uses]
    shares: dict[str, Any] = {
        "control_guidance_start": [use.get("start", 0.0) for use in uses],
        "control_guidance_end": [use.get("end", 1.0) for use in uses],
    }
    generator = torch.Generator("cpu").manual_seed(1)
    arguments: dict[str, Any] = {"generator": generator, "guidance_scale": get_guidance(name)}
    images: Any = [LINES] * len(uses)
    pipeline: Any
    if name == "tiny-z-image":
        network = ZImageControlNetModel.from_pretrained(folders[0])
        pipeline = ZImageControlNetPipeline.from_pretrained(harness.folder / name, controlnet=network)
        images, weights, shares = images[0], weights[0], {}
        arguments["guidance_scale"] -= 1
    elif name == "tiny-sd3":
        networks = [SD3ControlNetModel.from_pretrained(folder) for folder in folders]
        controlnet = networks if len(networks) > 1 else networks[0]
        pipeline = StableDiffusion3ControlNetPipeline.from_pretrained(harness.folder / name, controlnet=controlnet)
        images = images if len(networks) > 1 else images[0]
    else:
        flux_networks = [FluxControlNetModel.from_pretrained(folder) for folder in folders]
        pipeline = FluxControlNetPipeline.from_pretrained(
            harness.folder / name, controlnet=flux_networks if len(flux_networks) > 1 else flux_networks[0]
        )
        is_union = flux_networks[0].union
        images = images if len(flux_networks) > 1 else images[0]
        noise = torch.randn((1, 16, 8, 8), generator=generator)
        arguments |= {"latents": pipeline._pack_latents(noise, 1, 16, 8, 8), "control_mode": 2 if is_union else None}
    for component in pipeline.components.values():
        if isinstance(component, torch.nn.Module):
            component.float()
    without_variance(pipeline.vae)
    pipeline.scheduler = create_scheduler("Euler", pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    picture: Image.Image = pipeline(
        "a red circle",
        control_image=images,
        width=64,
        height=64,
        num_inference_steps=PLAIN["steps"],
        controlnet_conditioning_scale=weights,
        **shares,
        **arguments,
    ).images[0]
    return picture


@torch.no_grad()
def without_variance(vae: Any) -> None:
    """Makes an autoencoder say that its latents have no variance: drawing them at random gives their mean."""
    half = vae.encoder.conv_out.weight.shape[0] // 2
    vae.encoder.conv_out.weight[half:] = 0
    vae.encoder.conv_out.bias[half:] = -30


@pytest.mark.parametrize("case", CASES)
def test_pictures_are_those_of_diffusers(harness: EngineHarness, case: str) -> None:
    found = paint(harness, case)
    assert difference(found, paint_with_diffusers(harness, case)) <= 1
    assert difference(found, paint(harness, case, [])) > 5


@pytest.mark.parametrize("case", ["sd3 twice", "flux twice", "z-image 2"])
def test_jobs_with_and_without_controls_share_passes(harness: EngineHarness, case: str) -> None:
    uses = CASES[case][2]
    job_inputs = [
        make_inputs(harness, case, uses, seed=1),
        make_inputs(harness, case, [], seed=2, prompt="a longer prompt that has many words " * 6),
        make_inputs(harness, case, uses[:1], seed=3),
    ]
    solo = PassCounter(harness.engine.pass_timer)
    expected = [get_final_image(harness.run(inputs)) for inputs in job_inputs]
    alone = solo.count
    shared = PassCounter(harness.engine.pass_timer)
    found = [get_final_image(events) for events in harness.run_concurrently(*job_inputs)]
    assert max(difference(*pair) for pair in zip(expected, found, strict=True)) <= 1
    assert shared.count < alone * 0.7


@pytest.mark.parametrize("case", ["sd3", "flux", "z-image"])
def test_pictures_of_pictures_are_controlled(harness: EngineHarness, case: str) -> None:
    fields = {"start": START, "strength": 0.8}
    assert difference(paint(harness, case, [{}], **fields), paint(harness, case, [], **fields)) > 5


def test_a_lora_changes_the_parts_that_a_controlnet_takes_from_its_denoiser(
    harness: EngineHarness, tmp_path: Path
) -> None:
    """The same picture as that of diffusers would need its own LoRA code; instead, jobs must not disturb each other."""
    save_networks(harness, "z-image")
    file = harness.folder / "loras" / "z-image.safetensors"
    if not file.exists():
        diffusers_lora(harness.folder / "tiny-z-image", file, 1)
    lora = harness.loras.get_source("z-image", 1.0)
    with_lora = make_inputs(harness, "z-image", [{}], loras_used=[lora])
    without = make_inputs(harness, "z-image", [{}])
    expected = [get_final_image(harness.run(inputs)) for inputs in (with_lora, without)]
    found = [get_final_image(events) for events in harness.run_concurrently(with_lora, without)]
    assert max(difference(*pair) for pair in zip(expected, found, strict=True)) <= 1
    assert difference(*expected) > 5


def test_a_union_controlnet_of_sdxl_follows_the_type_of_its_map(harness: EngineHarness) -> None:
    name = "tiny-sdxl"
    info, _ = harness.model(name)
    folder = harness.folder / "controlnets" / "union"
    controlnets.save_union_controlnet(harness.folder / name, folder)
    source = find_controlnets(harness).get_source("union")

    def draw(control_type: str) -> Image.Image:
        use = {"controlnet": "union", "image": ANY_IMAGE, "control_type": control_type, "weight": 0.7}
        inputs = harness.make_inputs(name, [source], controls=[use], **PLAIN, guidance_scale=4.0)
        request = set_adapter_fields(inputs.request, info, [source])
        return get_final_image(harness.run(JobInputs(request, inputs.model, [source], {"controls[0].image": LINES})))

    config = ControlNetUnionModel.load_config(folder) | {"_class_name": "ControlNetUnionModel"}
    network: Any = ControlNetUnionModel.from_config(config)
    network.load_state_dict(load_file(folder / "diffusion_pytorch_model.safetensors"))
    pipeline: Any = StableDiffusionXLControlNetUnionPipeline.from_pretrained(harness.folder / name, controlnet=network)
    for component in pipeline.components.values():
        if isinstance(component, torch.nn.Module):
            component.float()
    pipeline.scheduler = create_scheduler("Euler", pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    expected = pipeline(
        "a red circle",
        control_image=[LINES],
        control_mode=[3],
        width=64,
        height=64,
        num_inference_steps=PLAIN["steps"],
        guidance_scale=4.0,
        generator=torch.Generator("cpu").manual_seed(1),
        controlnet_conditioning_scale=0.7,
    ).images[0]
    found = draw("canny")
    assert difference(found, expected) <= 1
    assert difference(found, draw("pose")) > 2


@pytest.mark.parametrize(
    ("case", "use", "field", "problem"),
    [
        ("flux union", {}, "controls[0].control_type", "must be one of canny, tile, depth, blur, pose, gray"),
        ("flux union", {"preprocessor": "scribble"}, "controls[0].control_type", "must be one of canny"),
        ("flux", {"control_type": "canny"}, "controls[0].control_type", "must be left open: flux-0 is no union"),
        ("sd3", {"mode": "prompt"}, "controls[0].mode", "must be balanced with a ControlNet for Stable Diffusion 3"),
    ],
    ids=str,
)
def test_what_a_controlnet_cannot_do_is_refused_by_name(
    harness: EngineHarness, case: str, use: dict[str, Any], field: str, problem: str
) -> None:
    with pytest.raises(InvalidRequest, match=problem) as caught:
        make_inputs(harness, case, [use])
    assert caught.value.field == field


def test_the_preprocessor_says_the_type_for_a_union_controlnet(harness: EngineHarness) -> None:
    (control,) = make_inputs(harness, "flux union", [{"preprocessor": "canny"}]).request.controls
    assert control.control_type == "canny"


def test_controlnets_of_another_architecture_or_size_are_refused(harness: EngineHarness) -> None:
    inputs = make_inputs(harness, "sd3", [{}])
    with pytest.raises(InvalidRequest, match="was made for Stable Diffusion 3") as caught:
        set_adapter_fields(inputs.request, harness.model("tiny-flux-dev")[0], inputs.adapters)
    assert caught.value.field == "controls[0].controlnet"
    folder = harness.folder / "controlnets" / "wide"
    controlnets.save_sd3_controlnet(
        harness.folder / "tiny-sd3", folder, num_attention_heads=3, caption_projection_dim=48
    )
    source = find_controlnets(harness).get_source("wide")
    wide = JobInputs(inputs.request, inputs.model, [source], inputs.input_images)
    with pytest.raises(ModelLoadFailed, match="its tokens have 48 numbers instead of 32"):
        harness.run(wide)
