"""Tags in a prompt, as AUTOMATIC1111's web UI has them: LoRAs as `<lora:name:weight>`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from imagegen.schema.wildcards import find_choices
from imagegen.text import truncate

TAG_PATTERN = re.compile(r"<(\w{1,40}):([^<>]{1,400})>")
LORA_KINDS = ("lora", "lyco")
# The fields of a request with prompts that cannot have LoRAs of their own.
OTHER_PROMPTS = ("negative_prompt", "more_prompts", "detail_prompt")


class PromptTagError(ValueError):
    """A tag that cannot be read. `field` is the field of the request; the message says what is allowed."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(problem)
        self.field = field


def move_loras(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of a request with the LoRAs of the prompt moved to the end of `loras`.

    Tags in a choice such as {a|b} stay: which of them count is known when it has been made.

    Raises PromptTagError for other tags, and for tags in other prompts, such as the negative one.
    """
    for field in OTHER_PROMPTS:
        check_no_tags(field, values.get(field))
    prompt, loras = values.get("prompt"), values.get("loras") or ()
    if not isinstance(prompt, str) or not isinstance(loras, list | tuple):
        return dict(values)
    words, found = extract_loras(prompt)
    return {**values, "prompt": words, "loras": (*loras, *found)} if found else dict(values)


def check_no_tags(field: str, sent: Any) -> None:
    """Raises PromptTagError if a prompt, or one of several, has tags. Other values are left to their own checks."""
    for text in sent if isinstance(sent, list | tuple) else (sent,):
        if isinstance(text, str) and (match := TAG_PATTERN.search(text)):
            raise PromptTagError(field, f"must not contain {truncate(match[0])}: LoRAs are named in prompt")


def extract_loras(prompt: str) -> tuple[str, list[dict[str, object]]]:
    """Returns the prompt without its LoRA tags, and the LoRAs as fields of a request. Raises PromptTagError."""
    loras = [parse_lora(match[1], match[2]) for match in find_tags(prompt)]
    return remove_tags(prompt), loras


def remove_tags(prompt: str) -> str:
    """Returns a prompt without its tags; one without tags as it is."""
    ends = [0]
    parts = []
    for match in find_tags(prompt):
        parts.append(prompt[ends[-1] : match.start()])
        ends.append(match.end())
    return "".join([*parts, prompt[ends[-1] :]]).strip() if parts else prompt


def find_tags(prompt: str) -> list[re.Match[str]]:
    """Returns the tags outside of choices, from left to right."""
    choices = find_choices(prompt)
    return [
        match
        for match in TAG_PATTERN.finditer(prompt)
        if not any(choice.start < match.start() < choice.end for choice in choices)
    ]


def parse_lora(kind: str, text: str) -> dict[str, object]:
    """Raises PromptTagError."""
    name, *weights = text.split(":")
    if kind.casefold() not in LORA_KINDS:
        raise PromptTagError("prompt", f"must not contain <{kind}:…>: only <lora:name:weight> is supported")
    if len(weights) > 1:
        raise PromptTagError("prompt", f"{truncate(name)!r} may have one weight, as in <lora:name:weight>")
    return {"lora": name, "weight": parse_weight(weights[0]) if weights else 1.0}


def parse_weight(text: str) -> float:
    """Raises PromptTagError."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise PromptTagError("prompt", "weight in <lora:name:weight> must be a number")
    return value
