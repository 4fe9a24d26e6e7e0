"""A VAE takes the place of a model's own: as in diffusers' own pipelines, in all tasks, and in shared passes."""

from __future__ import annotations

import base64
import json
import shutil
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, AutoPipelineForImage2Image, DiffusionPipeline
from PIL import Image, ImageDraw

from imagegen.engine.engine import Engine, EngineResult, JobInputs
from imagegen.engine.models.network_cache import LoadedNetwork
from imagegen.engine.models.network_files import load_network
from imagegen.engine.pipelines import create_job_pipeline
from imagegen.engine.previews.projection import JPEG_QUALITY
from imagegen.engine.samplers import create_scheduler
from imagegen.engine.vaes.apply import apply_vae
from imagegen.engine.vaes.loading import read_vae, share_vae
from imagegen.errors import InvalidRequest, ModelLoadFailed, ModelTooLarge
from imagegen.library.snapshots import Snapshots
from imagegen.library.vaes import VaeIndex, find_preview_decoder
from imagegen.schema.adapter_fields import set_adapter_fields
from imagegen.schema.events import Progress
from tests.hub.vaes import save_tiny_vae, save_vae, write_old_names, write_original
from tests.integration.engine_harness import EngineHarness, get_final_image, new_control
from tests.integration.test_batching import PassCounter, difference

START = Image.effect_noise((64, 64), 60).convert("RGB")
MASK = Image.new("L", (64, 64))
ImageDraw.Draw(MASK).rectangle((20, 24, 43, 39), fill=255)
PLAIN: dict[str, Any] = {"sampler": "Euler", "steps": 3, "guidance_scale": 4.0}
FLUX: dict[str, Any] = {
    "latent_channels": 16,
    "scaling_factor": 0.3611,
    "shift_factor": 0.1159,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}
# The VAEs for each model: how each is saved, and its configuration.
VAES: dict[str, tuple[Any, dict[str, Any]]] = {
    "sd": (save_vae, {}),
    "xl": (save_vae, {"scaling_factor": 0.13025, "force_upcast": True}),
    "taesd": (save_tiny_vae, {}),
    "taef1": (save_tiny_vae, {"latent_channels": 16}),
    "flux": (save_vae, FLUX),
}


def find_vaes(harness: EngineHarness) -> VaeIndex:
    return VaeIndex("vae", (harness.folder / "vaes",), Snapshots(harness.folder / "hub"))


def get_vae_folder(harness: EngineHarness, name: str) -> Path:
    folder = harness.folder / "vaes" / name
    if not folder.exists():
        kind, _, seed = name.partition("-")
        save, config = VAES[kind]
        save(folder, seed=int(seed or 9), **config)
    return folder


def make_inputs(harness: EngineHarness, model: str, vae: str | None, **fields: Any) -> JobInputs:
    """Returns the inputs of a job with a VAE, which is saved at its first use; None for the model's own."""
    if vae is not None and vae.partition("-")[0] in VAES:
        get_vae_folder(harness, vae)
    sources = [find_vaes(harness).get_source(vae)] if vae is not None else []
    info, _ = harness.model(model)
    settings = PLAIN if info.can.negative_prompt else {"steps": 3}
    inputs = harness.make_inputs(model, sources, vae=vae, **settings | fields)
    return replace(inputs, request=set_adapter_fields(inputs.request, info, sources))


def paint(harness: EngineHarness, model: str, vae: str | None, **fields: Any) -> Image.Image:
    return get_final_image(harness.run(make_inputs(harness, model, vae, **fields)))


MODELS = pytest.mark.parametrize(
    ("model", "vae"),
    [("tiny-sd15", "sd"), ("tiny-sd21", "sd"), ("tiny-sdxl", "xl"), ("tiny-sd15", "taesd"), ("tiny-flux-dev", "flux")],
)


def paint_with_diffusers(harness: EngineHarness, pipeline_class: Any, inputs: JobInputs, **arguments: Any) -> Any:
    """Returns the picture of diffusers' own pipeline for the model and the VAE of a job."""
    request = inputs.request
    assert request.sampler is not None and request.vae is not None and inputs.model is not None
    vae_class = AutoencoderTiny if request.vae == "taesd" else AutoencoderKL
    vae = vae_class.from_pretrained(get_vae_folder(harness, request.vae))
    pipeline = pipeline_class.from_pretrained(inputs.model.path, vae=vae, dtype=torch.float32)
    pipeline.scheduler = create_scheduler(request.sampler, pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(
        "a red circle",
        num_inference_steps=request.steps,
        guidance_scale=request.guidance_scale,
        generator=torch.Generator("cpu").manual_seed(1),
        **arguments,
    ).images[0]


@MODELS
def test_pictures_are_those_of_diffusers(harness: EngineHarness, model: str, vae: str) -> None:
    inputs = make_inputs(harness, model, vae)
    expected = paint_with_diffusers(harness, DiffusionPipeline, inputs, width=64, height=64)
    found = get_final_image(harness.run(inputs))
    assert difference(found, expected) <= 1
    assert difference(found, paint(harness, model, None)) > 20


@MODELS
def test_a_start_image_is_encoded_as_in_diffusers(harness: EngineHarness, model: str, vae: str) -> None:
    inputs = make_inputs(harness, model, vae, start=START, strength=0.7)
    size = {"width": 64, "height": 64} if model == "tiny-flux-dev" else {}
    expected = paint_with_diffusers(harness, AutoPipelineForImage2Image, inputs, image=START, strength=0.7, **size)
    assert difference(get_final_image(harness.run(inputs)), expected) <= 1


def get_first_preview(harness: EngineHarness, inputs: JobInputs) -> Image.Image:
    control = new_control()
    control.wants_previews.set()
    previews = (event.preview for event in harness.run(inputs, control) if isinstance(event, Progress))
    text = next(preview for preview in previews if preview is not None)
    return Image.open(BytesIO(base64.b64decode(text)))


@pytest.mark.parametrize(("model", "vae"), [("tiny-sd15", "taesd"), ("tiny-flux-dev", "taef1")])
def test_previews_are_what_a_small_vae_makes_of_the_estimate(harness: EngineHarness, model: str, vae: str) -> None:
    """A job with this VAE that ends after its first step has as its picture what the VAE makes of the same estimate.

    The picture of a job is not changed by the decoder of its previews.
    """
    get_vae_folder(harness, vae)
    decoder = find_preview_decoder(find_vaes(harness), harness.model(model)[0].latents)
    assert decoder is not None and decoder.id == vae
    inputs = replace(make_inputs(harness, model, None), preview_decoder=decoder)
    preview = get_first_preview(harness, inputs)
    control = new_control()
    control.finish_requested.set()
    expected = get_final_image(harness.run(make_inputs(harness, model, vae), control))
    assert preview.size == expected.size == (64, 64)
    buffer = BytesIO()
    expected.save(buffer, format="JPEG", quality=JPEG_QUALITY)
    assert difference(preview, Image.open(buffer)) <= 2
    assert difference(preview.resize((64, 64)), get_first_preview(harness, make_inputs(harness, model, None))) > 20
    assert get_final_image(harness.run(inputs)).tobytes() == paint(harness, model, None).tobytes()


def test_without_a_usable_small_vae_previews_are_made_as_before(harness: EngineHarness) -> None:
    plain = make_inputs(harness, "tiny-sd15", None)
    decoder = find_vaes(harness).get_source(get_vae_folder(harness, "taesd").name)
    gone = replace(plain, preview_decoder=decoder.model_copy(update={"path": harness.folder / "gone.safetensors"}))
    assert get_first_preview(harness, gone).tobytes() == get_first_preview(harness, plain).tobytes()


TASKS: dict[str, dict[str, Any]] = {
    "image to image": {"start": START, "strength": 0.5},
    "inpainting": {"start": START, "mask": MASK, "strength": 0.9, "mask_area": "masked", "mask_padding": 4},
    "outpainting": {"start": START, "extend_right": 32, "width": 96, "height": 64},
    "hires": {"hires_scale": 1.5},
}


@pytest.mark.parametrize("task", TASKS)
def test_each_task_encodes_and_decodes_with_it(harness: EngineHarness, task: str) -> None:
    found, own = (paint(harness, "tiny-sd15", vae, **TASKS[task]) for vae in ("sd", None))
    assert difference(found, own) > 20


def test_jobs_with_different_vaes_share_the_denoiser_and_those_with_the_same_the_decoder(
    harness: EngineHarness,
) -> None:
    job_inputs = [
        make_inputs(harness, "tiny-sd15", "sd", seed=1),
        make_inputs(harness, "tiny-sd15", None, seed=2),
        make_inputs(harness, "tiny-sd15", "sd-3", seed=3),
        make_inputs(harness, "tiny-sd15", "sd", seed=4),
    ]
    solo = PassCounter(harness.engine.pass_timer)
    expected = [get_final_image(harness.run(inputs)) for inputs in job_inputs]
    alone = solo.count
    shared = PassCounter(harness.engine.pass_timer)
    found = [get_final_image(events) for events in harness.run_concurrently(*job_inputs)]
    assert max(difference(*pair) for pair in zip(expected, found, strict=True)) <= 1
    assert (alone, shared.count) == (4 * (3 + 1), 3 + 3)


def test_a_receipt_names_the_vae(harness: EngineHarness) -> None:
    inputs = make_inputs(harness, "tiny-sd15", "sd")
    *_, result = harness.run(inputs)
    assert isinstance(result, EngineResult)
    (receipt,) = result.receipts
    assert (receipt.vae, receipt.vae_sha256) == ("sd", inputs.adapters[0].sha256)
    assert receipt.to_request_fields()["vae"] == "sd"
    *_, result = harness.run(make_inputs(harness, "tiny-sd15", None))
    assert isinstance(result, EngineResult)
    assert (result.receipts[0].vae, result.receipts[0].vae_sha256) == (None, None)
    assert "vae" not in result.receipts[0].to_request_fields()


def test_a_model_that_shares_a_small_gpu_uses_its_own(harness: EngineHarness) -> None:
    paint(harness, "tiny-sd15", None)
    model = harness.engine.store.models["tiny-sd15"]
    source = find_vaes(harness).get_source(get_vae_folder(harness, "sd").name)
    network: Any = load_network(source, read_vae, torch.device("cpu"), torch.float32)
    pipeline = create_job_pipeline(model, "Euler", "text_to_image")
    with pytest.raises(InvalidRequest, match="low_memory") as caught:
        apply_vae(pipeline, replace(model, shared_networks=None), LoadedNetwork(source, network, share_vae(network), 0))
    assert caught.value.field == "vae"


@pytest.mark.parametrize("prefix", ["", "first_stage_model."])
def test_a_file_in_the_original_format_is_the_same_vae(harness: EngineHarness, prefix: str) -> None:
    name = f"original{len(prefix)}"
    write_original(get_vae_folder(harness, "sd"), harness.folder / "vaes" / name / "vae.safetensors", prefix)
    expected = paint(harness, "tiny-sd15", "sd")
    assert difference(paint(harness, "tiny-sd15", name), expected) <= 1


def test_a_file_of_an_older_diffusers_is_the_same_vae(harness: EngineHarness) -> None:
    write_old_names(get_vae_folder(harness, "sd"), harness.folder / "vaes" / "older")
    assert difference(paint(harness, "tiny-sd15", "older"), paint(harness, "tiny-sd15", "sd")) <= 1


def test_a_vae_of_unknown_models_gets_the_scaling_of_the_model(harness: EngineHarness) -> None:
    paint(harness, "tiny-sdxl", None)
    model = harness.engine.store.models["tiny-sdxl"]
    source = find_vaes(harness).get_source(get_vae_folder(harness, "sd").name)
    network: Any = load_network(source, read_vae, torch.device("cpu"), torch.float32)
    unknown = source.model_copy(update={"architecture": "unknown", "path": harness.folder / "vae.safetensors"})
    for each, scaling in ((source, 0.18215), (unknown, 0.13025)):
        pipeline = create_job_pipeline(model, "Euler", "text_to_image")
        apply_vae(pipeline, model, LoadedNetwork(each, network, share_vae(network), 0))
        assert pipeline.vae.config["scaling_factor"] == scaling
    assert network.config["scaling_factor"] == 0.18215, "other jobs use it too"


@pytest.mark.parametrize(
    ("model", "vae", "config"),
    [
        ("tiny-sdxl", "sd", {}),
        ("tiny-sd15", "xl", {}),
        ("tiny-sd15", "flux", {}),
        ("tiny-sd15", "sd", {"block_out_channels": [8, 8, 16]}),
    ],
)
def test_a_vae_for_other_latents_is_refused_by_name(
    harness: EngineHarness, model: str, vae: str, config: dict[str, Any], tmp_path: Path
) -> None:
    shutil.copytree(get_vae_folder(harness, vae), tmp_path / "vae")
    file = tmp_path / "vae" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | config))
    source = VaeIndex("vae", (tmp_path,), Snapshots(tmp_path / "hub")).get_source("vae")
    info, _ = harness.model(model)
    with pytest.raises(InvalidRequest, match="has latents with") as caught:
        set_adapter_fields(make_inputs(harness, model, None).request, info, [source])
    assert caught.value.field == "vae"


@pytest.mark.parametrize("model", ["tiny-sana", "tiny-qwen-image", "tiny-flux2-klein"])
def test_a_model_without_the_capability_refuses_the_field(harness: EngineHarness, model: str) -> None:
    with pytest.raises(InvalidRequest, match="cannot be used with the model") as caught:
        harness.make_inputs(model, vae="sd")
    assert caught.value.field == "vae"


@pytest.mark.parametrize(
    ("change", "problem"),
    [("more", "its tensor more.weight has no place"), ("config", "another shape"), ("less", "it has no tensor")],
)
def test_a_vae_that_is_not_what_it_says_ends_its_job_alone(harness: EngineHarness, change: str, problem: str) -> None:
    folder, broken = get_vae_folder(harness, "sd"), harness.folder / "vaes" / change
    if change == "config":
        shutil.copytree(folder, broken)
        config = json.loads((folder / "config.json").read_text())
        (broken / "config.json").write_text(json.dumps(config | {"block_out_channels": [8, 8, 16, 32]}))
    elif change == "more":
        write_original(folder, broken / "vae.safetensors", extra={"more.weight": torch.ones(1)})
    else:
        shutil.copytree(folder, broken)
        config = json.loads((folder / "config.json").read_text())
        (broken / "config.json").write_text(json.dumps(config | {"layers_per_block": 3}))
    with pytest.raises(ModelLoadFailed, match=problem):
        paint(harness, "tiny-sd15", change)
    assert paint(harness, "tiny-sd15", "sd").size == (64, 64)


def test_vaes_count_as_memory_and_make_room_for_models(harness: EngineHarness) -> None:
    engine = Engine("cpu")
    get_final_image(list(engine.generate(make_inputs(harness, "tiny-sd15", "sd"), new_control())))
    models = sum(model.size_bytes for model in engine.store.models.values())
    assert engine.store.measure_usage()["cpu"] > models
    engine.store.budget = replace(engine.store.budget, memory_bytes=models * 1.001)
    with pytest.raises(ModelTooLarge):
        list(engine.generate(make_inputs(harness, "tiny-sd15", "sd-3"), new_control()))
    get_final_image(list(engine.generate(make_inputs(harness, "tiny-sd15", None), new_control())))
    engine.release("sd")
    assert engine.store.measure_usage()["cpu"] == models
