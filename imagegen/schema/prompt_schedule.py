r"""Prompts that change from step to step, with the syntax of AUTOMATIC1111's web UI. Needs no torch.

[from:to:when] is `from` up to step `when`, and `to` after it; [to:when] begins with nothing. A `when` with a point is a
share of the steps, such as 0.5; one without is a number of steps. [a|b|c] takes turns. They nest. Of all else, each
character stays as it is; \[ \] \: \| are plain characters.

In a second pass, `when` goes on to count from the first: shares from 1 to 2 are in the second, and so are numbers
beyond the steps of the first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

TOKEN_PATTERN = re.compile(r"\\.|[\[\]():|]|[^\\\[\]():|]+|\\", re.DOTALL)
WHEN_PATTERN = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)\s*")
CLOSING = {"[": "]", "(": ")"}


class Pass(NamedTuple):
    """A pass over a picture: how many steps it has, and the first pass has had before it, or None for the first."""

    steps: int
    first_pass_steps: int | None = None


class StepPrompts(NamedTuple):
    """The prompts of one step, in their order, and the negative prompt."""

    prompts: tuple[str, ...]
    negative_prompt: str


@dataclass
class Bracket:
    """What is in a bracket that is open, or in none: texts, and the separators between them."""

    opening: str = ""
    texts: list[str] = field(default_factory=lambda: [""])
    separators: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        self.texts[-1] += text

    def separate(self, separator: str) -> None:
        self.separators.append(separator)
        self.texts.append("")

    def join(self) -> str:
        """Returns the bracket as it was written."""
        rest = (separator + text for separator, text in zip(self.separators, self.texts[1:], strict=True))
        return self.opening + self.texts[0] + "".join(rest)

    def resolve(self, step: int, whole: Pass) -> str | None:
        """Returns what a square bracket stands for in a step, counted from 1; None if it is not for certain steps."""
        if set(self.separators) == {"|"}:
            return self.texts[(step - 1) % len(self.texts)]
        *texts, when = self.split_at_colons()
        if len(texts) in (1, 2) and WHEN_PATTERN.fullmatch(when):
            before = texts[0] if len(texts) == 2 else ""
            return before if step <= find_last_step(when, whole) else texts[-1]
        return None

    def split_at_colons(self) -> list[str]:
        texts = self.texts[:1]
        for separator, text in zip(self.separators, self.texts[1:], strict=True):
            if separator == ":":
                texts.append(text)
            else:
                texts[-1] += separator + text
        return texts


def list_step_prompts(prompts: Sequence[str], negative_prompt: str, whole: Pass) -> list[StepPrompts]:
    """Returns the prompts of each step of a pass."""
    by_text = {text: resolve_steps(text, whole) for text in (*prompts, negative_prompt)}
    return [
        StepPrompts(tuple(by_text[prompt][step] for prompt in prompts), by_text[negative_prompt][step])
        for step in range(whole.steps)
    ]


def resolve_steps(prompt: str, whole: Pass) -> list[str]:
    """Returns a prompt as it is in each step of a pass."""
    if "[" not in prompt:
        return [prompt] * whole.steps
    tokens = TOKEN_PATTERN.findall(prompt)
    return [resolve_step(tokens, step, whole) for step in range(1, whole.steps + 1)]


def resolve_step(tokens: Sequence[str], step: int, whole: Pass) -> str:
    """Returns a prompt as it is in a step, counted from 1."""
    open_brackets = [Bracket()]
    for token in tokens:
        innermost = open_brackets[-1]
        if token in CLOSING:
            open_brackets.append(Bracket(token))
        elif innermost.opening and token == CLOSING[innermost.opening]:
            open_brackets.pop()
            resolved = innermost.resolve(step, whole) if innermost.opening == "[" else None
            open_brackets[-1].add(innermost.join() + token if resolved is None else resolved)
        elif token in (":", "|") and innermost.opening == "[":
            innermost.separate(token)
        else:
            innermost.add(token)
    return "".join(bracket.join() for bracket in open_brackets)


def find_last_step(when: str, whole: Pass) -> int:
    """Returns the last step, counted from 1, before a change. It may lie outside of the pass."""
    is_second = whole.first_pass_steps is not None
    if "." in when:
        return int((float(when) - is_second) * whole.steps)
    return int(when) - (whole.first_pass_steps or 0)
