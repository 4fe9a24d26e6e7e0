"""Prompts that change from step to step, against the examples in the source of AUTOMATIC1111's web UI."""

from __future__ import annotations

from itertools import groupby

import pytest

from imagegen.schema.prompt_schedule import Pass, StepPrompts, list_step_prompts, resolve_steps


def shorten(prompt: str, whole: Pass) -> list[tuple[int, str]]:
    """Returns each text that a prompt is, with its last step."""
    numbered = enumerate(resolve_steps(prompt, whole), 1)
    return [list(group)[-1] for _, group in groupby(numbered, key=lambda each: each[1])]


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        ("test", [(10, "test")]),
        ("a [b:3]", [(3, "a "), (10, "a b")]),
        ("a [b: 3]", [(3, "a "), (10, "a b")]),
        ("a [[[b]]:2]", [(2, "a "), (10, "a [[b]]")]),
        ("[(a:2):3]", [(3, ""), (10, "(a:2)")]),
        ("a [b : c : 1] d", [(1, "a b  d"), (10, "a  c  d")]),
        ("a[b:[c:d:2]:1]e", [(1, "abe"), (2, "ace"), (10, "ade")]),
        ("a [unbalanced", [(10, "a [unbalanced")]),
        ("a [b:.5] c", [(5, "a  c"), (10, "a b c")]),
        ("a [{b|d{:.5] c", [(5, "a  c"), (10, "a {b|d{ c")]),
        ("((a][:b:c [d:3]", [(3, "((a][:b:c "), (10, "((a][:b:c d")]),
        ("[a|(b:1.1)]", [(step, "a" if step % 2 else "(b:1.1)") for step in range(1, 11)]),
        ("[fe|]male", [(step, "female" if step % 2 else "male") for step in range(1, 11)]),
        ("[fe|||]male", [(1, "female"), (4, "male"), (5, "female"), (8, "male"), (9, "female"), (10, "male")]),
        ("[a:b:0]", [(10, "b")]),
        ("[a:b:-1]", [(10, "b")]),
        ("[a:b:99]", [(10, "a")]),
        ("[a::5]c", [(5, "ac"), (10, "c")]),
        ("[a:b:c:0.5]", [(10, "[a:b:c:0.5]")]),
        ("[a:b]", [(10, "[a:b]")]),
        (r"\[a:b:5] [c\:d:5]", [(5, r"\[a:b:5] "), (10, r"\[a:b:5] c\:d")]),
        ("a]b)[(", [(10, "a]b)[(")]),
    ],
)
def test_prompts_change_as_in_the_web_ui(prompt: str, texts: list[tuple[int, str]]) -> None:
    assert shorten(prompt, Pass(10)) == texts


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        ("a [b:.5] c", [(10, "a b c")]),
        ("a [b:1.5] c", [(5, "a  c"), (10, "a b c")]),
        ("a [b:5] c", [(10, "a b c")]),
        ("a [b:13] c", [(3, "a  c"), (10, "a b c")]),
    ],
)
def test_a_second_pass_goes_on_counting(prompt: str, texts: list[tuple[int, str]]) -> None:
    assert shorten(prompt, Pass(10, first_pass_steps=10)) == texts


def test_each_step_has_all_prompts() -> None:
    steps = list_step_prompts(["[a:b:1]", "c"], "[d|e]", Pass(3))
    assert steps == [StepPrompts(("a", "c"), "d"), StepPrompts(("b", "c"), "e"), StepPrompts(("b", "c"), "d")]


def test_no_nesting_is_too_deep() -> None:
    assert resolve_steps("[" * 2000 + "]" * 2000, Pass(2)) == ["[" * 2000 + "]" * 2000] * 2
    nested = "[" * 600 + "a" + ":1]" * 600
    assert resolve_steps(nested, Pass(2)) == ["", "a"]
