"""A request for what a model cannot do is refused before a job is accepted, with the field and what is allowed."""

from pathlib import Path
from typing import Any

import pytest

from imagegen.errors import InvalidRequest
from imagegen.schema.adapter_fields import set_adapter_fields
from imagegen.schema.models import UNKNOWN_ARCHITECTURE, AdapterKind, AdapterSource, Capabilities, ModelInfo
from imagegen.schema.request import GenerationRequest, LoraUse
from imagegen.schema.validation import fill_in_defaults, find_capability_problems, parse_request

IMAGE = "0" * 64
ABLE = Capabilities(
    image_to_image=True,
    inpainting=True,
    strength=True,
    clip_skip=True,
    step_cache=True,
    loras=True,
    embeddings=True,
    samplers=("Euler", "DPM++ 2M"),
    multiple=16,
    max_side=512,
)
UNABLE = Capabilities(guidance="none", negative_prompt=False, samplers=("Euler",), max_side=512)


def model(can: Capabilities = ABLE, **changes: Any) -> ModelInfo:
    values: dict[str, Any] = {
        "id": "model",
        "name": "Model",
        "family": "Stable Diffusion",
        "can": can,
        "width": 128,
        "height": 192,
        "steps": 20,
        "guidance_scale": 4.0,
        "sampler": "Euler",
        "strength": 0.7,
        "architecture": "Stable Diffusion 1",
    }
    return ModelInfo(**values | changes)


def make_capability_request(**fields: Any) -> GenerationRequest:
    return parse_request({"prompt": "a red circle", **fields})


def adapter(name: str, kind: AdapterKind = "lora", architecture: str = "Stable Diffusion 1") -> AdapterSource:
    return AdapterSource(
        kind=kind,
        id=name,
        name=name,
        path=Path(name),
        sha256=name,
        architecture=architecture,
        trigger=(name,),
        weight=0.5,
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"width": 528}, "width: must be at most 512 with the model model"),
        ({"height": 2048}, "height: must be at most 512 with the model model"),
        ({"width": 136}, "width: must be a multiple of 16, such as 128, with the model model"),
        ({"height": 72}, "height: must be a multiple of 16, such as 64, with the model model"),
        ({"sampler": "UniPC"}, "sampler: must be one of Euler, DPM++ 2M with the model model"),
    ],
)
def test_what_is_beyond_a_model_is_refused_with_what_is_allowed(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        fill_in_defaults(make_capability_request(**fields), model(), seed=1)
    assert str(refused.value) == message
    assert refused.value.field == next(iter(fields))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"guidance_scale": 4}, "guidance_scale: must be 1 or left open: there is no guidance with the model model"),
        ({"negative_prompt": "blue"}, "negative_prompt: cannot be used with the model model"),
        ({"clip_skip": 1}, "clip_skip: cannot be used with the model model"),
        ({"step_cache": 0.2}, "step_cache: cannot be used with the model model"),
        ({"init_image": IMAGE}, "init_image: cannot be used with the model model"),
        ({"init_image": IMAGE, "mask_image": IMAGE}, "mask_image: cannot be used with the model model"),
        ({"loras": [{"lora": "neon"}]}, "loras: cannot be used with the model model"),
        ({"embeddings": ["cat"]}, "embeddings: cannot be used with the model model"),
    ],
)
def test_what_a_model_has_no_use_for_is_refused_and_never_ignored(fields: dict[str, Any], message: str) -> None:
    assert list(find_capability_problems(make_capability_request(**fields), model())) == []
    with pytest.raises(InvalidRequest) as refused:
        fill_in_defaults(make_capability_request(**fields), model(UNABLE), seed=1)
    assert str(refused.value) == message


def test_a_model_that_starts_from_a_picture_may_still_not_know_strength() -> None:
    editor = model(ABLE.model_copy(update={"strength": False}))
    with pytest.raises(InvalidRequest, match="strength: cannot be used with the model model"):
        fill_in_defaults(make_capability_request(init_image=IMAGE, strength=0.5), editor, seed=1)
    assert fill_in_defaults(make_capability_request(init_image=IMAGE), editor, seed=1).strength is None


def test_every_problem_is_found() -> None:
    request = make_capability_request(
        width=1024, sampler="UniPC", clip_skip=1, negative_prompt="x", init_image=IMAGE, strength=1
    )
    fields = [field for field, _ in find_capability_problems(request, model(UNABLE))]
    assert fields == ["width", "sampler", "init_image", "negative_prompt", "clip_skip", "strength"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "init_image: is required with the model model"),
        ({"init_image": IMAGE}, "mask_image: is required with the model model"),
    ],
)
def test_a_model_that_can_only_inpaint_says_which_pictures_it_needs(fields: dict[str, Any], message: str) -> None:
    inpainter = model(ABLE.model_copy(update={"text_to_image": False, "image_to_image": False}))
    with pytest.raises(InvalidRequest) as refused:
        fill_in_defaults(make_capability_request(**fields), inpainter, seed=1)
    assert str(refused.value) == message
    request = make_capability_request(init_image=IMAGE, mask_image=IMAGE)
    assert fill_in_defaults(request, inpainter, seed=1).strength == 0.7


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mask_image": IMAGE}, "mask_image: needs an init_image"),
        ({"init_image": IMAGE, "mask_blur": 2}, "mask_blur: needs a mask_image"),
        ({"init_image": IMAGE, "mask_image": IMAGE, "mask_blur": 65}, "mask_blur: must be between 0 and 64"),
        ({"init_image": IMAGE, "mask_image": IMAGE, "mask_padding": -1}, "mask_padding: must be between 0 and 512"),
        ({"init_image": IMAGE, "mask_image": IMAGE, "mask_invert": 1}, "mask_invert: should be a valid boolean"),
        ({"init_image": IMAGE, "mask_image": IMAGE, "mask_area": "half"}, "mask_area: must be one of"),
        ({"init_image": IMAGE, "mask_image": IMAGE, "mask_fill": "red"}, "mask_fill: must be one of"),
    ],
)
def test_what_is_wrong_with_a_mask_is_refused_by_name(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        make_capability_request(**fields)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"width": 512, "height": 64},
        {"guidance_scale": 1},
        {"negative_prompt": ""},
        {"clip_skip": 0},
        {"loras": [], "embeddings": []},
    ],
)
def test_a_plain_request_suits_every_model(fields: dict[str, Any]) -> None:
    assert list(find_capability_problems(make_capability_request(**fields), model(UNABLE))) == []


def test_what_is_left_open_comes_from_the_model_and_nothing_stays_open() -> None:
    request = fill_in_defaults(make_capability_request(), model(), seed=3)
    assert request == make_capability_request(
        width=128, height=192, steps=20, guidance_scale=4, sampler="Euler", seed=3, model="model"
    )


def test_strength_is_filled_in_only_where_there_is_a_picture_to_start_from() -> None:
    assert fill_in_defaults(make_capability_request(), model(), seed=3).strength is None
    assert fill_in_defaults(make_capability_request(init_image=IMAGE), model(), seed=3).strength == 0.7


def test_given_values_are_kept() -> None:
    given = make_capability_request(
        width=64, height=80, steps=5, guidance_scale=1, sampler="DPM++ 2M", seed=0, clip_skip=1
    )
    assert fill_in_defaults(given, model(), seed=3) == given.model_copy(update={"model": "model"})


def test_a_stack_of_loras_has_room_for_those_of_the_model() -> None:
    loras = [adapter(f"lora {number}") for number in range(8)]
    model_with_loras = model(loras=(LoraUse(lora="few-steps"),))
    assert len(set_adapter_fields(make_capability_request(), model_with_loras, loras).loras) == 8, (
        "that of the model is one of them"
    )
    with pytest.raises(InvalidRequest) as refused:
        set_adapter_fields(make_capability_request(), model_with_loras, [adapter("few-steps"), *loras])
    named = "the model model, which has 1 of its own"
    assert str(refused.value) == f"loras: must have at most 7 entries with {named}"


def test_a_model_reference_is_replaced_by_its_id() -> None:
    assert fill_in_defaults(make_capability_request(model="owner/repository"), model(), seed=3).model == "model"


def test_adapter_references_are_replaced_by_ids_in_their_order() -> None:
    fields = {"loras": [{"lora": "b.safetensors"}, {"lora": "a"}], "embeddings": ["cat.safetensors"]}
    request = make_capability_request(negative_prompt="(cat:1.2)", **fields)
    named = set_adapter_fields(request, model(), [adapter("b"), adapter("a"), adapter("cat", "embedding")])
    assert named.loras == (LoraUse(lora="b", weight=0.5), LoraUse(lora="a", weight=0.5))
    assert named.embeddings == ("cat",)


def test_without_adapters_nothing_changes() -> None:
    assert set_adapter_fields(make_capability_request(seed=1), model(), []) == make_capability_request(seed=1)


@pytest.mark.parametrize(("kind", "field"), [("lora", "loras"), ("embedding", "embeddings")])
def test_an_adapter_for_another_architecture_is_refused_by_name(kind: AdapterKind, field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        set_adapter_fields(make_capability_request(), model(), [adapter("good", kind), adapter("neon", kind, "FLUX.1")])
    assert str(refused.value) == f"{field}: neon was made for FLUX.1, and the model model is Stable Diffusion 1"


@pytest.mark.parametrize(("kind", "field"), [("lora", "loras"), ("embedding", "embeddings")])
def test_the_same_adapter_twice_is_refused_by_name(kind: AdapterKind, field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        set_adapter_fields(
            make_capability_request(), model(), [adapter("neon", kind), adapter("other", kind), adapter("neon", kind)]
        )
    assert str(refused.value) == f"{field}: neon is there twice"


def test_a_lora_and_an_embedding_may_have_the_same_name() -> None:
    request = make_capability_request(prompt="neon")
    set_adapter_fields(request, model(), [adapter("neon", "lora"), adapter("neon", "embedding")])


@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
def test_prompts_cannot_be_combined(field: str) -> None:
    """Models that take a prompt as plain text read the word."""
    request = make_capability_request(**{field: "a cat AND a dog"})
    reader = model(ABLE.model_copy(update={"weighted_prompt": True}))
    with pytest.raises(InvalidRequest) as refused:
        fill_in_defaults(request, reader, seed=3)
    problem = "must not contain AND in capitals, because prompts cannot be combined with the model model"
    assert str(refused.value) == f"{field}: {problem}"
    fill_in_defaults(make_capability_request(**{field: "a SAND castle and a sea"}), reader, seed=3)
    fill_in_defaults(request, model(), seed=3)


def test_an_embedding_without_its_word_in_a_prompt_is_refused() -> None:
    with pytest.raises(InvalidRequest) as refused:
        set_adapter_fields(make_capability_request(prompt="neons"), model(), [adapter("neon", "embedding")])
    assert str(refused.value) == "embeddings: neon needs its word neon in a prompt"


def test_an_adapter_of_unknown_architecture_is_accepted() -> None:
    set_adapter_fields(make_capability_request(), model(), [adapter("neon", architecture=UNKNOWN_ARCHITECTURE)])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": ""}, "model: must not be empty"),
        ({"model": "x" * 301}, "model: must have at most 300 characters"),
        ({"model": 5}, "model: should be a valid string"),
        ({"model": "a\x00b"}, "model: must not contain the character U+0000"),
        ({"loras": "neon"}, "loras: must be a list"),
        ({"loras": {"lora": "neon"}}, "loras: must be a list"),
        ({"loras": ["neon"]}, 'loras[0]: must be an object, such as {"lora": "neon", "weight": 0.8}'),
        ({"loras": [{"lora": "a"}] * 9}, "loras: must have at most 8 entries"),
        ({"loras": [{"lora": "a"}, {"weight": 1}]}, "loras[1].lora: is required"),
        ({"loras": [{"lora": ""}]}, "loras[0].lora: must not be empty"),
        ({"loras": [{"lora": "x" * 301}]}, "loras[0].lora: must have at most 300 characters"),
        ({"loras": [{"lora": "a\x1b"}]}, "loras[0].lora: must not contain the character U+001B"),
        ({"loras": [{"lora": "a", "weight": 5}]}, "loras[0].weight: must be between -4 and 4"),
        ({"loras": [{"lora": "a"}, {"lora": "b", "weight": -4.5}]}, "loras[1].weight: must be between -4 and 4"),
        ({"loras": [{"lora": "a", "weight": "1"}]}, "loras[0].weight: must be a number"),
        ({"loras": [{"lora": "a", "weight": float("nan")}]}, "loras[0].weight: should be a finite number"),
        ({"loras": [{"lora": "a", "weight": None}]}, "loras[0].weight: should be a valid number"),
        ({"loras": [{"lora": "a", "colour": 1}]}, "loras[0].colour: is not a field of an entry"),
        ({"loras": [{"lora": "a", "x" * 10**6: 1}]}, "loras[0].xxxxx"),
        ({"embeddings": "cat"}, "embeddings: must be a list"),
        ({"embeddings": ["cat", 5]}, "embeddings[1]: should be a valid string"),
        ({"embeddings": ["cat"] * 9}, "embeddings: must have at most 8 entries"),
        ({"embeddings": [""]}, "embeddings[0]: must not be empty"),
    ],
)
def test_what_is_wrong_within_a_list_is_named_by_its_place(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        make_capability_request(**fields)
    text = str(refused.value)
    assert text.startswith(message)
    assert "\n" not in text and len(text) < 200
