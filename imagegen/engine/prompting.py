"""What a pipeline is told of the prompts: embeddings of ours where we make them, else the words themselves."""

from __future__ import annotations

from typing import Any

from imagegen.engine.adapters import Dressed
from imagegen.engine.held import Held
from imagegen.errors import InvalidRequest
from imagegen.schema import GenerationRequest

# A pipeline with several hears the prompt whole with the last of these.
TOKENIZERS = ("tokenizer_3", "tokenizer_2", "tokenizer")


def prompt_arguments(held: Held, request: GenerationRequest, dressed: Dressed) -> dict[str, Any]:
    """Several prompts are told once for each picture: some pipelines mix them up when they repeat them themselves.

    Raises InvalidRequest for a prompt that is longer than the model can hear.
    """
    several = bool(request.more_prompts)
    told = {"num_images_per_prompt": 1 if several else request.batch_size}
    if held.encoder is None:
        return told | spoken(held, request)
    positive, negative = held.encoder.encode_all(
        request.prompts if several else (request.prompt,),
        request.negative_prompt,
        request.clip_skip,
        dressed.inversions,
        dressed.encoders.key,
    )
    embeds: dict[str, Any] = {"prompt_embeds": positive.states, "negative_prompt_embeds": negative.states}
    if held.family.prompts == "clip pair":
        embeds |= {"pooled_prompt_embeds": positive.pooled, "negative_pooled_prompt_embeds": negative.pooled}
    return told | embeds


def spoken(held: Held, request: GenerationRequest) -> dict[str, Any]:
    prompts, several = list(request.prompts), bool(request.more_prompts)
    check_length(held, "prompt", request.prompt)
    for place, prompt in enumerate(request.more_prompts):
        check_length(held, f"more_prompts[{place}]", prompt)
    words: dict[str, Any] = {"prompt": prompts if several else request.prompt}
    words["max_sequence_length"] = held.family.tokens
    if held.family.negative_prompt:
        check_length(held, "negative_prompt", request.negative_prompt)
        words["negative_prompt"] = [request.negative_prompt] * len(prompts) if several else request.negative_prompt
    if request.clip_skip:
        words["clip_skip"] = request.clip_skip
    return words


def check_length(held: Held, field: str, text: str) -> None:
    tokenizer = next(getattr(held.pipeline, name) for name in TOKENIZERS if hasattr(held.pipeline, name))
    count = len(tokenizer(text, verbose=False).input_ids)
    if count > held.family.tokens:
        problem = f"is {count} tokens long, and {held.source.name} hears {held.family.tokens}"
        raise InvalidRequest(field, problem)
