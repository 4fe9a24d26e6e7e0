"""The prompt arguments of a pipeline call: our own embeddings if the model has a prompt encoder, else the texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from imagegen.engine.adapters.adapter_cache import JobAdapters
from imagegen.engine.models.loaded import LoadedModel
from imagegen.engine.prompts.prompt_steps import PromptSteps
from imagegen.errors import InvalidRequest
from imagegen.library.prompt_tokens import TOKENIZER_NAMES
from imagegen.schema.prompt_schedule import Pass, StepPrompts, list_step_prompts
from imagegen.schema.request import GenerationRequest

# How many texts a prompt can be over its steps: each is encoded.
MAX_TEXTS = 32


def build_prompt_arguments(
    model: LoadedModel, request: GenerationRequest, adapters: JobAdapters, whole: Pass
) -> tuple[dict[str, Any], PromptSteps]:
    """Returns the arguments that carry the prompts of the first step of a pass, and those of all steps.

    With several prompts, each is passed once per picture: some pipelines mix them up when they repeat them themselves.
    Raises InvalidRequest for a prompt that is longer than the model accepts, or that changes too often.
    """
    has_several = bool(request.more_prompts)
    arguments = {"num_images_per_prompt": 1 if has_several else request.batch_size}
    if model.prompt_encoder is None:
        return arguments | build_text_arguments(model, request), PromptSteps()
    prompts = request.prompts if has_several else (request.prompt,)
    steps = list_step_prompts(prompts, request.negative_prompt, whole)
    check_step_prompts(steps)
    by_step = model.prompt_encoder.encode_steps(
        steps, request.clip_skip, adapters.textual_inversions, adapters.encoders.key
    )
    positive, negative = by_step[0]
    embeds: dict[str, Any] = {"prompt_embeds": positive.states, "negative_prompt_embeds": negative.states}
    if model.family.facts.prompts == "clip pair":
        embeds |= {"pooled_prompt_embeds": positive.pooled, "negative_pooled_prompt_embeds": negative.pooled}
    return arguments | embeds, PromptSteps(by_step, arguments["num_images_per_prompt"])


def check_step_prompts(steps: Sequence[StepPrompts]) -> None:
    """Raises InvalidRequest for a prompt that changes so often that its encoding would take longer than the picture."""
    for field, texts in (
        ("prompt", [step.prompts[0] for step in steps]),
        ("negative_prompt", [step.negative_prompt for step in steps]),
        ("more_prompts", [step.prompts for step in steps]),
    ):
        count = len(set(texts))
        if count > MAX_TEXTS:
            raise InvalidRequest(field, f"is {count} different texts over its steps; at most {MAX_TEXTS} are possible")


def build_text_arguments(model: LoadedModel, request: GenerationRequest) -> dict[str, Any]:
    """Returns the arguments for a pipeline that encodes texts itself. Raises InvalidRequest for a long prompt."""
    prompts, has_several = list(request.prompts), bool(request.more_prompts)
    check_prompt_length(model, "prompt", request.prompt)
    for index, prompt in enumerate(request.more_prompts):
        check_prompt_length(model, f"more_prompts[{index}]", prompt)
    arguments: dict[str, Any] = {"prompt": prompts if has_several else request.prompt}
    arguments["max_sequence_length"] = model.family.facts.tokens
    if model.family.facts.negative_prompt:
        check_prompt_length(model, "negative_prompt", request.negative_prompt)
        arguments["negative_prompt"] = (
            [request.negative_prompt] * len(prompts) if has_several else request.negative_prompt
        )
    if request.clip_skip:
        arguments["clip_skip"] = request.clip_skip
    return arguments


def check_prompt_length(model: LoadedModel, field: str, text: str) -> None:
    """Raises InvalidRequest if a text has more tokens than the model accepts."""
    tokenizer = next(getattr(model.pipeline, name) for name in TOKENIZER_NAMES if hasattr(model.pipeline, name))
    tokenizer = getattr(tokenizer, "tokenizer", tokenizer)  # That of a processor.
    count = len(tokenizer(text, verbose=False).input_ids)
    if count > model.family.facts.tokens:
        problem = f"is {count} tokens long, and {model.source.name} accepts {model.family.facts.tokens}"
        raise InvalidRequest(field, problem)
