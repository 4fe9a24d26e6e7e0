"""IP-Adapters make pictures like reference pictures, as in diffusers' own pipelines, in all tasks and shared passes."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxKontextPipeline, FluxPipeline, StableDiffusionPipeline, StableDiffusionXLPipeline
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file

from imagegen.engine.batching.collate import Arguments, BatchRules, collate
from imagegen.engine.compile.spec import CompileSpec, build_spec, instantiate_network
from imagegen.engine.engine import Engine, JobInputs
from imagegen.engine.ip_adapters.attention import has_reference_attention
from imagegen.engine.ip_adapters.prepare import prepare_references
from imagegen.engine.models.loading import load_pipeline
from imagegen.engine.models.network_cache import LoadedNetwork
from imagegen.engine.samplers import create_scheduler
from imagegen.errors import InvalidRequest, ModelLoadFailed
from imagegen.library.ip_adapters import IpAdapterIndex
from imagegen.library.snapshots import Snapshots
from imagegen.schema.adapter_fields import set_adapter_fields
from imagegen.schema.events import Cancelled, Progress
from imagegen.schema.models import AdapterSource
from tests.hub.ip_adapters import save_flux_ip_adapter, save_image_encoder, save_ip_adapter
from tests.integration.engine_harness import (
    ANY_IMAGE,
    EngineHarness,
    get_final_image,
    new_control,
    run_together,
    run_until_cancelled,
)
from tests.integration.test_batching import PassCounter, difference
from tests.integration.test_controls import make_inputs as make_controlled_inputs

START = Image.effect_noise((64, 64), 60).convert("RGB")
STYLE = Image.linear_gradient("L").convert("RGB").resize((80, 60))
STYLE_64 = STYLE.resize((80, 64))
FACE = Image.new("RGB", (64, 96), "navy")
ImageDraw.Draw(FACE).ellipse((12, 20, 52, 76), fill="gold")
PLAIN: dict[str, Any] = {"sampler": "Euler", "steps": 4, "guidance_scale": 4.0}
# The kind of an IP-Adapter, the picture that it looks at, and its weight.
Look = tuple[str, Image.Image, float]
PIPELINES = {
    "tiny-sd15": StableDiffusionPipeline,
    "tiny-sdxl": StableDiffusionXLPipeline,
    "tiny-flux-dev": FluxPipeline,
    "tiny-flux-schnell": FluxPipeline,
    "tiny-flux-kontext": FluxKontextPipeline,
}


def find_ip_adapters(harness: EngineHarness) -> IpAdapterIndex:
    return IpAdapterIndex("ip_adapter", (harness.folder / "ip_adapters",), Snapshots(harness.folder / "hub"))


def find_sources(harness: EngineHarness, model: str, kind: str, weight: float) -> tuple[AdapterSource, ...]:
    """Returns the sources of an IP-Adapter for a model, which is written first.

    `kind` is "plain", "plus", "flux" or "flux 16".
    """
    folder, name = harness.folder / "ip_adapters", f"{model}-{kind}"
    if not (folder / "image_encoder").exists():
        save_image_encoder(folder / "image_encoder")
    if not (folder / f"{name}.safetensors").exists():
        harness.model(model)
        if kind.startswith("flux"):
            tokens = 16 if "16" in kind else 4
            save_flux_ip_adapter(harness.folder / model, folder / f"{name}.safetensors", tokens=tokens)
        else:
            save_ip_adapter(harness.folder / model, folder / f"{name}.safetensors", is_plus=kind == "plus")
    return find_ip_adapters(harness).list_sources(name, weight)


def make_inputs(harness: EngineHarness, model: str, *references: Look, **fields: Any) -> JobInputs:
    """Returns the inputs of a job with reference pictures."""
    sources = [each for kind, _, weight in references for each in find_sources(harness, model, kind, weight)]
    uses = [{"ip_adapter": f"{model}-{kind}", "image": ANY_IMAGE, "weight": weight} for kind, _, weight in references]
    inputs = harness.make_inputs(model, sources, references=uses, **PLAIN | fields)
    images = {f"references[{number}].image": image for number, (_, image, _) in enumerate(references)}
    return replace(inputs, input_images={**inputs.input_images, **images})


def paint(
    harness: EngineHarness, model: str, *references: tuple[str, Image.Image, float], **fields: Any
) -> Image.Image:
    return get_final_image(harness.run(make_inputs(harness, model, *references, **fields)))


@pytest.mark.parametrize(
    ("model", "references", "guidance"),
    [
        ("tiny-sd15", [("plain", FACE, 0.6)], 4.0),
        ("tiny-sd15", [("plus", FACE, 1.0), ("plain", STYLE, 0.5)], 4.0),
        ("tiny-sdxl", [("plain", STYLE, 1.0)], 1.0),
        ("tiny-sdxl", [("plus", FACE, 0.7), ("plus", STYLE, 0.4)], 4.0),
        ("tiny-flux-dev", [("flux", FACE, 0.8)], 4.0),
        ("tiny-flux-schnell", [("flux", FACE, 1.0), ("flux", STYLE, 0.5)], 1.0),
        ("tiny-flux-kontext", [("flux", STYLE, 1.0)], 2.5),
    ],
)
def test_pictures_are_those_of_diffusers(
    harness: EngineHarness, model: str, references: list[Look], guidance: float
) -> None:
    found = paint(harness, model, *references, guidance_scale=guidance)
    pipeline = PIPELINES[model].from_pretrained(harness.folder / model, dtype=torch.float32)
    options: dict[str, Any] = {}
    if "flux" in model:
        options["image_encoder_pretrained_model_name_or_path"] = harness.folder / "ip_adapters" / "image_encoder"
        options["image_encoder_dtype"] = torch.float32
    pipeline.load_ip_adapter(
        harness.folder / "ip_adapters",
        subfolder="",
        weight_name=[f"{model}-{kind}.safetensors" for kind, _, _ in references],
        **options,
    )
    # FLUX.1's pipelines take one scale for all blocks, or one for each block of each IP-Adapter.
    blocks = pipeline.transformer.config.num_layers if "flux" in model else 0
    pipeline.set_ip_adapter_scale([[weight] * blocks if blocks else weight for _, _, weight in references])
    if "flux" not in model:
        pipeline.scheduler = create_scheduler("Euler", pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    sizes: dict[str, Any] = {"max_area": 64 * 64, "_auto_resize": False} if model == "tiny-flux-kontext" else {}
    expected = pipeline(
        prompt="a red circle",
        **sizes,
        width=64,
        height=64,
        num_inference_steps=PLAIN["steps"],
        guidance_scale=guidance,
        generator=torch.Generator("cpu").manual_seed(1),
        ip_adapter_image=[image for _, image, _ in references],
    ).images[0]
    assert difference(found, expected) <= 1
    assert difference(found, paint(harness, model, guidance_scale=guidance)) > 20


def test_a_weight_of_0_changes_nothing_and_each_picture_counts(harness: EngineHarness) -> None:
    without = paint(harness, "tiny-sd15")
    assert paint(harness, "tiny-sd15", ("plain", FACE, 0.0)).tobytes() == without.tobytes()
    both = paint(harness, "tiny-sd15", ("plain", FACE, 1.0), ("plain", STYLE, 1.0))
    found = [both, *(paint(harness, "tiny-sd15", ("plain", image, 1.0)) for image in (FACE, STYLE))]
    assert len({image.tobytes() for image in (without, *found)}) == 4


MASK = Image.new("L", (64, 64))
ImageDraw.Draw(MASK).rectangle((20, 24, 43, 39), fill=255)
TASKS: dict[str, dict[str, Any]] = {
    "image to image": {"start": START, "strength": 0.8},
    "inpainting": {"start": START, "mask": MASK, "strength": 1},
    "outpainting": {"start": START, "extend_right": 32, "width": 96, "height": 64},
    "hires": {"hires_scale": 1.5},
}
FLUX_TASKS = ("image to image", "inpainting", "outpainting")


LOOKS = [*(("tiny-sd15", "plus", task) for task in TASKS), *(("tiny-flux-dev", "flux", task) for task in FLUX_TASKS)]


@pytest.mark.parametrize(("model", "kind", "task"), LOOKS)
def test_each_task_looks_at_references(harness: EngineHarness, model: str, kind: str, task: str) -> None:
    fields = TASKS[task]
    found = paint(harness, model, (kind, FACE, 1.0), **fields)
    assert difference(found, paint(harness, model, **fields)) > 20


def test_a_model_that_fills_masks_looks_at_references(harness: EngineHarness) -> None:
    fields = {"start": START, "mask": MASK}
    found = paint(harness, "tiny-flux-fill", ("flux", FACE, 1.0), **fields)
    assert difference(found, paint(harness, "tiny-flux-fill", **fields)) > 20


def test_an_attention_to_the_same_tokens_several_times_is_that_to_each_once(harness: EngineHarness) -> None:
    """IP-Adapters for FLUX.1 make 4 tokens of a picture, or 16."""
    few, many = (paint(harness, "tiny-flux-dev", (kind, FACE, 1.0)) for kind in ("flux", "flux 16"))
    assert difference(few, many) <= 1


def test_each_picture_of_a_batch_is_like_the_reference(harness: EngineHarness) -> None:
    reference = ("plain", FACE, 1.0)
    *_, batch = harness.run(make_inputs(harness, "tiny-sd15", reference, batch_size=2, more_prompts=("a cat",)))
    expected = [
        paint(harness, "tiny-sd15", reference, prompt=prompt, seed=seed)
        for seed, prompt in enumerate(("a red circle", "a red circle", "a cat", "a cat"), 1)
    ]
    assert max(difference(*pair) for pair in zip(batch.images, expected, strict=True)) <= 1  # type: ignore[union-attr]


@pytest.mark.parametrize("model", ["tiny-sd15", "tiny-sdxl"])
def test_jobs_with_and_without_references_share_passes(harness: EngineHarness, model: str) -> None:
    job_inputs = [
        make_inputs(harness, model, ("plain", FACE, 1.0), seed=1),
        make_inputs(harness, model, seed=2),
        make_inputs(harness, model, ("plus", STYLE, 0.5), seed=3),
        make_inputs(harness, model, ("plus", FACE, 1.0), ("plain", STYLE, 0.7), seed=4),
    ]
    solo = PassCounter(harness.engine.pass_timer)
    expected = [get_final_image(harness.run(inputs)) for inputs in job_inputs]
    alone = solo.count
    shared = PassCounter(harness.engine.pass_timer)
    found = [get_final_image(events) for events in harness.run_concurrently(*job_inputs)]
    assert max(difference(*pair) for pair in zip(expected, found, strict=True)) <= 1
    assert shared.count < alone * 0.6


def test_jobs_of_flux_with_and_without_references_share_passes(harness: EngineHarness) -> None:
    model = "tiny-flux-dev"
    job_inputs = [
        make_inputs(harness, model, ("flux", FACE, 1.0), seed=1, steps=8),
        make_inputs(harness, model, seed=2, steps=8),
        make_inputs(harness, model, ("flux 16", FACE, 0.5), ("flux", STYLE, 0.7), seed=3, steps=8),
    ]
    solo = PassCounter(harness.engine.pass_timer)
    expected = [get_final_image(harness.run(inputs)) for inputs in job_inputs]
    alone, shared = solo.count, PassCounter(harness.engine.pass_timer)
    found = [get_final_image(events) for events in harness.run_concurrently(*job_inputs)]
    assert max(difference(*pair) for pair in zip(expected, found, strict=True)) <= 1
    assert shared.count < alone * 0.6


def test_jobs_with_controls_and_with_references_share_passes(harness: EngineHarness) -> None:
    controlled = make_controlled_inputs(harness, "tiny-sd15", {}, seed=1)
    like = make_inputs(harness, "tiny-sd15", ("plain", FACE, 1.0), seed=2)
    both = replace(
        like,
        request=like.request.model_copy(update={"controls": controlled.request.controls, "seed": 3}),
        adapters=(*controlled.adapters, *like.adapters),
        input_images={**controlled.input_images, **like.input_images},
    )
    job_inputs = [like, controlled, both]
    expected = [get_final_image(harness.run(inputs)) for inputs in job_inputs]
    shared = PassCounter(harness.engine.pass_timer)
    found = [get_final_image(events) for events in harness.run_concurrently(*job_inputs)]
    assert max(difference(*pair) for pair in zip(expected, found, strict=True)) <= 1
    assert shared.count <= 3 * PLAIN["steps"], "each step takes a pass of the ControlNet, and one of the denoiser"


def test_joined_arguments_have_one_order() -> None:
    """Compiled code and CUDA graphs know them by their places."""
    rules = BatchRules(additions=("first", "second"))
    one: Arguments = {"x": torch.ones(1, 2), "second": {"y": (torch.ones(1, 2),)}}
    other: Arguments = {"x": torch.ones(2, 2)}
    third: Arguments = {"first": [torch.ones(1, 3)], "x": torch.ones(1, 2), "second": {"y": (torch.ones(1, 1),)}}
    found = [collate(calls, rules) for calls in ([one, other, third], [third, one, other], [other, third, one])]
    assert [list(each) for each in found] == [["x", "first", "second"]] * 3
    joined = found[1]["second"]
    assert isinstance(joined, dict)
    assert joined["y"][0].tolist() == [[1, 0], [1, 1], [0, 0], [0, 0]]


@pytest.mark.parametrize("model", ["tiny-sd15", "tiny-flux-dev"])
def test_a_network_that_is_compiled_looks_at_references_too(harness: EngineHarness, model: str) -> None:
    paint(harness, model)
    denoiser = harness.engine.store.models[model].denoiser
    spec = json.loads(json.dumps(asdict(build_spec(denoiser, "forward", {}))))
    network, _ = instantiate_network(CompileSpec(**spec))
    assert has_reference_attention(network)


def test_a_job_with_references_has_steps_and_can_be_cancelled(harness: EngineHarness) -> None:
    inputs = make_inputs(harness, "tiny-sd15", ("plus", FACE, 1.0))
    steps = [event.step for event in harness.run(inputs) if isinstance(event, Progress)]
    assert steps == [1, 2, 3, 4]
    assert isinstance(run_until_cancelled(harness.engine, inputs)[-1], Cancelled)


def test_jobs_without_references_are_the_same_to_the_bit(harness: EngineHarness) -> None:
    engine = Engine("cpu", exact=True)
    plain, like = make_inputs(harness, "tiny-sd15", seed=5), make_inputs(harness, "tiny-sd15", ("plus", FACE, 1.0))
    before = get_final_image(list(engine.generate(plain, new_control())))
    meanwhile, like_face = (get_final_image(events) for events in run_together(engine, plain, like))
    after = get_final_image(list(engine.generate(plain, new_control())))
    assert before.tobytes() == meanwhile.tobytes() == after.tobytes()
    assert like_face.tobytes() == get_final_image(list(engine.generate(like, new_control()))).tobytes()


def test_a_receipt_names_ip_adapter_and_image_encoder(harness: EngineHarness) -> None:
    inputs = make_inputs(harness, "tiny-sd15", ("plain", FACE, 0.5))
    *_, result = harness.run(inputs)
    (used,) = result.receipts[0].references  # type: ignore[union-attr]
    assert (used.ip_adapter, used.weight) == ("tiny-sd15-plain", 0.5)
    assert [used.sha256, used.image_encoder_sha256] == [source.sha256 for source in inputs.adapters]
    fields = result.receipts[0].to_request_fields()  # type: ignore[union-attr]
    assert fields["references"] == [use.model_dump() for use in inputs.request.references]


def test_an_ip_adapter_for_another_architecture_is_refused_by_name(harness: EngineHarness) -> None:
    sources = find_sources(harness, "tiny-sdxl", "plain", 1.0)
    info, _ = harness.model("tiny-sd15")
    with pytest.raises(InvalidRequest, match="was made for") as caught:
        set_adapter_fields(make_inputs(harness, "tiny-sd15", ("plain", FACE, 1.0)).request, info, sources)
    assert caught.value.field == "references[0].ip_adapter"


def test_an_ip_adapter_for_other_blocks_ends_its_job_alone(harness: EngineHarness) -> None:
    inputs = make_inputs(harness, "tiny-sd15", ("plain", FACE, 1.0))
    other = replace(inputs, adapters=find_sources(harness, "tiny-sdxl", "plain", 1.0))
    with pytest.raises(ModelLoadFailed, match="it does not fit the model"):
        harness.run(other)
    assert difference(get_final_image(harness.run(inputs)), paint(harness, "tiny-sd15")) > 20


@pytest.mark.parametrize(
    ("number", "changes", "problem"),
    [
        (0, {"image_proj.norm.bias": torch.ones(3)}, "its tensor projection.norm.bias has another shape"),
        (1, {"more": torch.ones(3)}, "its tensor more has no place"),
    ],
    ids=["IP-Adapter", "image encoder"],
)
def test_a_file_that_is_not_what_it_says_ends_its_job_alone(
    harness: EngineHarness, tmp_path: Path, number: int, changes: dict[str, torch.Tensor], problem: str
) -> None:
    inputs = make_inputs(harness, "tiny-sd15", ("plain", FACE, 1.0))
    sources = list(inputs.adapters)
    file = tmp_path / "model.safetensors"
    save_file(load_file(sources[number].path) | changes, file)
    if number:
        shutil.copyfile(sources[1].path.parent / "config.json", tmp_path / "config.json")
    sources[number] = sources[number].model_copy(update={"path": file, "sha256": "0"})
    with pytest.raises(ModelLoadFailed, match=problem):
        harness.run(replace(inputs, adapters=sources))
    assert difference(get_final_image(harness.run(inputs)), paint(harness, "tiny-sd15")) > 20


def test_a_model_on_a_small_gpu_refuses_them_by_name(harness: EngineHarness) -> None:
    inputs = make_inputs(harness, "tiny-sd15", ("plain", FACE, 1.0))
    harness.run(inputs)
    model = replace(harness.engine.store.models["tiny-sd15"], shared_networks=None)
    network = LoadedNetwork(inputs.adapters[0], torch.nn.Identity(), None, 0)
    with pytest.raises(InvalidRequest, match="references: cannot be used with a model that shares a small GPU"):
        prepare_references(inputs.request, model, [network], [network], inputs.input_images)


def test_the_jobs_of_two_ip_adapters_share_one_image_encoder(harness: EngineHarness) -> None:
    engine = Engine("cpu")
    inputs = make_inputs(harness, "tiny-sd15", ("plain", FACE, 1.0), ("plus", FACE, 1.0))
    list(engine.generate(inputs, new_control()))
    parameters = sum(
        sum(each.numel() for each in load_file(path).values()) for path in {each.path for each in inputs.adapters}
    )
    models = sum(model.size_bytes for model in engine.store.models.values())
    assert engine.store.measure_usage()["cpu"] - models == parameters * 4
    engine.release("tiny-sd15-plain")
    assert engine.store.measure_usage()["cpu"] - models < parameters * 4


LOOKERS = ("tiny-flux2-klein", "Flux2Pipeline", "tiny-qwen-image-edit-plus")
EDIT: dict[str, Any] = {"width": 96, "height": 64, "steps": 2}


def make_looking_inputs(harness: EngineHarness, model: str, *pictures: Image.Image, **fields: Any) -> JobInputs:
    """Returns the inputs of a job of a model that looks at reference pictures itself."""
    inputs = harness.make_inputs(model, references=[{"image": ANY_IMAGE}] * len(pictures), **EDIT | fields)
    images = {f"references[{number}].image": image for number, image in enumerate(pictures)}
    return replace(inputs, input_images={**inputs.input_images, **images})


@pytest.mark.parametrize("model", LOOKERS)
def test_a_model_that_takes_several_pictures_gets_references_after_the_start_image(
    harness: EngineHarness, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline_qwenimage_edit_plus, "VAE_IMAGE_SIZE", 128 * 128)  # Instead of a million pixels.
    start = START.resize((96, 64))
    found = get_final_image(harness.run(make_looking_inputs(harness, model, FACE, STYLE_64, start=start)))
    info, source = harness.model(model)
    pipeline: Any = load_pipeline(source, torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    options: dict[str, Any] = {"guidance_scale": info.guidance_scale}
    if info.can.negative_prompt:
        options = {"negative_prompt": "", "true_cfg_scale": info.guidance_scale}
    expected = pipeline(
        prompt="a red circle",
        image=[start, FACE, STYLE_64],
        width=96,
        height=64,
        num_inference_steps=2,
        generator=torch.Generator().manual_seed(1),
        **options,
    ).images[0]
    assert difference(found, expected) <= 1
    other = get_final_image(harness.run(make_looking_inputs(harness, model, STYLE_64, FACE, start=start)))
    assert found.tobytes() != other.tobytes()


@pytest.mark.parametrize("model", ["tiny-flux2-klein", "Flux2Pipeline"])
def test_references_without_a_start_image_share_passes(harness: EngineHarness, model: str) -> None:
    """Of the same shape, since the denoiser sees them."""
    job_inputs = [
        make_looking_inputs(harness, model, picture, seed=seed, steps=3)
        for seed, picture in enumerate((FACE, FACE.rotate(180)), 1)
    ]
    solo = PassCounter(harness.engine.pass_timer)
    expected = [get_final_image(harness.run(inputs)) for inputs in job_inputs]
    alone, shared = solo.count, PassCounter(harness.engine.pass_timer)
    found = [get_final_image(events) for events in harness.run_concurrently(*job_inputs)]
    assert max(difference(*pair) for pair in zip(expected, found, strict=True)) <= 1
    assert shared.count < 0.75 * alone


@pytest.mark.parametrize(
    ("model", "fields", "message"),
    [
        ("tiny-sd15", {"image": ANY_IMAGE}, r"references\[0\].ip_adapter: is required with the model"),
        ("tiny-flux2-klein", {"image": ANY_IMAGE, "ip_adapter": "a"}, r"references\[0\].ip_adapter: must be left open"),
        ("tiny-flux2-klein", {"image": ANY_IMAGE, "weight": 0.5}, r"references\[0\].weight: must be 1 or left open"),
        ("tiny-qwen-image", {"image": ANY_IMAGE}, "references: cannot be used with the model"),
        ("tiny-qwen-image-edit", {"image": ANY_IMAGE}, "references: cannot be used with the model"),
        ("tiny-flux-kontext", {"image": ANY_IMAGE}, r"references\[0\].ip_adapter: is required with the model"),
        ("tiny-sana", {"image": ANY_IMAGE}, "references: cannot be used with the model"),
    ],
)
def test_what_a_model_cannot_look_at_is_refused_by_name(
    harness: EngineHarness, model: str, fields: dict[str, Any], message: str
) -> None:
    start = START if harness.model(model)[0].can.image_to_image else None
    with pytest.raises(InvalidRequest, match=message):
        harness.make_inputs(model, start=start, references=[fields])


@pytest.mark.parametrize(
    ("size", "problem"), [((63, 64), "at least 64 pixels"), ((64, 520), "at most 8 times as long as it is wide")]
)
def test_a_picture_that_a_model_cannot_look_at_is_refused(
    harness: EngineHarness, size: tuple[int, int], problem: str
) -> None:
    with pytest.raises(InvalidRequest, match=problem) as caught:
        harness.run(make_looking_inputs(harness, "tiny-flux2-klein", FACE, Image.new("RGB", size)))
    assert caught.value.field == "references[1].image"


def test_each_picture_of_a_batch_looks_at_the_same_references(harness: EngineHarness) -> None:
    model, fields = "tiny-flux2-klein", {"start": START.resize((96, 64)), "more_prompts": ("a cat",)}
    *_, batch = harness.run(make_looking_inputs(harness, model, FACE, STYLE_64, **fields))
    alone = [
        get_final_image(harness.run(make_looking_inputs(harness, model, FACE, STYLE_64, **own)))
        for own in (
            {"start": fields["start"], "prompt": "a red circle", "seed": 1},
            {"start": fields["start"], "prompt": "a cat", "seed": 2},
        )
    ]
    assert max(difference(*pair) for pair in zip(batch.images, alone, strict=True)) <= 1  # type: ignore[union-attr]
