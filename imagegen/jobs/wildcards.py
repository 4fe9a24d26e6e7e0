"""Replaces the wildcards and choices in a request's prompts, before it is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from imagegen.errors import InvalidRequest, attribute_errors_to
from imagegen.library.wildcards import WildcardFolder
from imagegen.schema.embedding_words import find_used_embeddings
from imagegen.schema.field_types import MAX_PROMPT_CHARS
from imagegen.schema.prompt_tags import PromptTagError, check_no_tags, extract_loras
from imagegen.schema.receipt import RequestedAs
from imagegen.schema.request import GenerationRequest
from imagegen.schema.seeds import derive_seeds
from imagegen.schema.validation import parse_request
from imagegen.schema.wildcards import has_choices, replace_choices

# Prompts that all pictures of a request share: the seed of the first picture chooses for them.
SHARED_PROMPTS = ("negative_prompt", "detail_prompt")


def choose_prompts(
    request: GenerationRequest,
    folder: WildcardFolder,
    list_embedding_words: Callable[[], Mapping[str, Sequence[str]]],
    requested: RequestedAs | None = None,
) -> tuple[GenerationRequest, RequestedAs | None]:
    """Returns the request with the choices in its prompts made, and what was sent instead. Reads files.

    Each picture has its own choices, by its own seed. LoRAs and embeddings that were chosen are those of the request
    too; `list_embedding_words` returns the words of the embeddings that fit the model, by their ids, and is not called
    for a request without choices. `request` must have a seed. Raises InvalidRequest, also for a prompt that is too long
    then.
    """
    written = (request.prompt, *request.more_prompts)
    shared = {field: getattr(request, field) for field in SHARED_PROMPTS if has_choices(getattr(request, field))}
    changes: dict[str, Any] = {
        field: choose_prompt(field, text, derive_seeds(request)[0], folder, use=field) for field, text in shared.items()
    }
    for field, text in changes.items():
        with report_tags(field):
            check_no_tags(field, text)
    as_written: dict[str, Any] = {**shared}
    if any(map(has_choices, written)):
        changes |= choose_picture_prompts(request, folder)
        as_written |= {"prompt": request.prompt, "more_prompts": request.more_prompts}
    if not changes:
        return request, requested
    fields = {name: getattr(request, name) for name in request.model_fields_set} | changes
    chosen = parse_request(fields | {"embeddings": name_embeddings(request, fields, list_embedding_words())})
    return chosen, (requested or RequestedAs()).model_copy(update=as_written)


def choose_picture_prompts(request: GenerationRequest, folder: WildcardFolder) -> dict[str, Any]:
    """Returns the fields of a request with the prompt of each picture, and the LoRAs that were chosen with them.

    Raises InvalidRequest.
    """
    count, seeds = request.batch_size, derive_seeds(request)
    fields = ["prompt", *(f"more_prompts[{index}]" for index in range(len(request.more_prompts)))]
    prompts: list[str] = []
    loras: list[list[dict[str, object]]] = []
    for index, (text, seed) in enumerate(zip(request.prompts, seeds, strict=True)):
        field = fields[index // count]
        prompt = choose_prompt(field, text, seed, folder)
        with report_tags(field):
            if field == "prompt":
                prompt, found = extract_loras(prompt)
                loras.append(found)
            else:
                check_no_tags(field, prompt)
        prompts.append(prompt)
    if any(each != loras[0] for each in loras):
        raise InvalidRequest("prompt", "has choices with different LoRAs, which needs one request for each picture")
    if all(prompt == prompts[index - index % count] for index, prompt in enumerate(prompts)):
        prompts = prompts[::count]
    else:
        count = 1
    first, *others = prompts
    return {"prompt": first, "more_prompts": others, "batch_size": count, "loras": (*request.loras, *loras[0])}


def choose_prompt(field: str, text: str, seed: int, folder: WildcardFolder, use: str = "") -> str:
    """Returns a prompt without choices. Raises InvalidRequest."""
    with attribute_errors_to(field):
        prompt = replace_choices(text, seed, folder.read_lines, use)
    if len(prompt) > MAX_PROMPT_CHARS:
        problem = f"must have at most {MAX_PROMPT_CHARS} characters with the lines of its wildcards"
        raise InvalidRequest(field, problem)
    return prompt


@contextmanager
def report_tags(field: str) -> Iterator[None]:
    """Raises InvalidRequest instead of a PromptTagError that is raised inside."""
    try:
        yield
    except PromptTagError as error:
        raise InvalidRequest(field, str(error)) from None


def name_embeddings(
    request: GenerationRequest, fields: Mapping[str, Any], words: Mapping[str, Sequence[str]]
) -> tuple[str, ...]:
    """Returns the embeddings of a request after its choices, with those that were chosen by their words.

    `fields` are those of the request then. An embedding whose word was not chosen is left out.
    """
    written = find_used_embeddings([request.negative_prompt, request.detail_prompt, *request.prompts], words)
    prompts = [fields.get("negative_prompt", ""), fields.get("detail_prompt", "")]
    prompts += [fields["prompt"], *fields.get("more_prompts", ())]
    chosen = find_used_embeddings(prompts, words)
    kept = [each for each in request.embeddings if each not in written or each in chosen]
    return (*kept, *(each for each in chosen if each not in written and each not in kept))
