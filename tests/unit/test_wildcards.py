"""Wildcards and choices in prompts: the syntax, and the files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from imagegen.errors import InvalidRequest
from imagegen.library.wildcards import MAX_FILE_BYTES, WildcardFolder
from imagegen.schema.wildcards import find_choices, has_choices, replace_choices

LINES: Mapping[str, Sequence[str]] = {
    "colors": ("red", "green", "blue"),
    "hair_color": ("black",),
    "nested": ("a __colors__ one",),
    "loop": ("__loop__ again",),
    "closing": ("c}",),
    "heavy": ("0::never", "1::always"),
}


def read_lines(name: str) -> Sequence[str]:
    if name not in LINES:
        raise InvalidRequest("prompt", f"there is no wildcard {name}")
    return LINES[name]


def list_results(prompt: str) -> set[str]:
    """Returns what the prompt becomes with many seeds."""
    return {replace_choices(prompt, seed, read_lines) for seed in range(60)}


@pytest.mark.parametrize(
    ("prompt", "results"),
    [
        ("a __colors__ cat", {"a red cat", "a green cat", "a blue cat"}),
        ("__hair_color__ hair", {"black hair"}),
        ("(__hair_color__:1.2)", {"(black:1.2)"}),
        ("__hair_color____hair_color__", {"blackblack"}),
        ("__nested__", {"a red one", "a green one", "a blue one"}),
        ("{a|b} {c}", {"a {c}", "b {c}"}),
        ("{ a | b }", {"a", "b"}),
        ("{|b}", {"", "b"}),
        ("{a|{b|c}}", {"a", "b", "c"}),
        ("{a|{b}}", {"a", "{b}"}),
        ("{[a|b]|(c|d)}", {"[a|b]", "(c|d)"}),
        ("[{a|b}:c:0.5]", {"[a:c:0.5]", "[b:c:0.5]"}),
        ("{a|__hair_color__}", {"a", "black"}),
        ("__heavy__ {0::x|2::y}", {"always y"}),
        ("{a|b __closing__", {"a", "b c"}),
    ],
)
def test_choices_are_made_by_the_seed(prompt: str, results: set[str]) -> None:
    assert list_results(prompt) == results


@pytest.mark.parametrize(
    "prompt",
    ["", "a {word} here", "{{a}}", "[a|b]", "(a|b)", "a|b", "{a", "{a [b] c}", "__", "____", "a __ b __ c", "a_b_c",
     r"\{a|b}", '{"scene": "a cat"}'],
)  # fmt: skip
def test_other_texts_stay_as_they_are(prompt: str) -> None:
    assert not has_choices(prompt)
    assert replace_choices(prompt, 0, read_lines) == prompt


def test_the_same_seed_makes_the_same_choices_in_each_version_of_the_studio() -> None:
    assert replace_choices("{a|b|c|d|e|f|g|h|i|j}" * 5, 7, read_lines) == "ceigh"


def test_a_negative_prompt_has_choices_of_its_own() -> None:
    of_prompt = [replace_choices("__colors__", seed, read_lines) for seed in range(20)]
    of_negative = [replace_choices("__colors__", seed, read_lines, "negative_prompt") for seed in range(20)]
    assert of_prompt != of_negative


def test_nothing_is_left_to_replace() -> None:
    for seed in range(20):
        chosen = replace_choices("{a|b __closing__ {__nested__|{x|__heavy__}|[y|z]}", seed, read_lines)
        assert not has_choices(chosen)
        assert replace_choices(chosen, seed + 1, read_lines) == chosen


@pytest.mark.parametrize(
    ("prompt", "problem"),
    [
        ("__unknown__", "there is no wildcard unknown"),
        ("{a|__unknown__}", "there is no wildcard unknown"),
        ("__loop__", "more than 10 deep"),
        ("{2$$a|b}", "must not contain {2$$"),
        ("{1-2$$ and $$a|b}", "must not contain {1-2$$"),
    ],
)
def test_what_cannot_be_replaced_is_refused(prompt: str, problem: str) -> None:
    with pytest.raises(InvalidRequest, match=problem.replace("$", r"\$").replace("{", r"\{")):
        list_results(prompt)


def test_the_outermost_choices_are_found_in_a_long_prompt() -> None:
    assert [choice.options for choice in find_choices("{a|b} {c {d|e}|f}" + "[" * 3000)] == [
        ("a", "b"), ("c {d|e}", "f"),
    ]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> WildcardFolder:
    (tmp_path / "wildcards" / "sub").mkdir(parents=True)
    (tmp_path / "wildcards" / "colors.txt").write_bytes("\ufeff# all\r\nred\r\n\r\n  größer  \r\n".encode())
    (tmp_path / "wildcards" / "sub" / "colors_warm.txt").write_text("orange\n")
    (tmp_path / "outside.txt").write_text("a secret\n")
    return WildcardFolder(tmp_path / "wildcards")


def refuse(folder: WildcardFolder, name: str) -> str:
    with pytest.raises(InvalidRequest) as refusal:
        folder.read_lines(name)
    assert refusal.value.field == "prompt"
    return refusal.value.problem


def test_files_are_listed_by_the_names_that_a_prompt_can_have(folder: WildcardFolder) -> None:
    for name in ("with space.txt", "_hidden_.txt", "notes.md", ".hidden.txt"):
        (folder.folder / name).write_text("x")
    assert folder.list_names() == ["colors", "sub/colors_warm"]
    assert WildcardFolder(folder.folder / "nowhere").list_names() == []


def test_lines_are_read_without_comments_and_empty_ones(folder: WildcardFolder) -> None:
    assert folder.read_lines("colors") == ("red", "größer")
    assert folder.read_lines("sub/colors_warm") == ("orange",)


def test_a_pattern_has_the_lines_of_all_files_that_fit(folder: WildcardFolder) -> None:
    assert folder.read_lines("*colors*") == ("red", "größer", "orange")
    assert folder.read_lines("sub/*") == ("orange",)
    assert refuse(folder, "x*") == "there is no wildcard x*; there are colors, sub/colors_warm"


@pytest.mark.parametrize("name", ["nothing", "../outside", "/etc/passwd", "sub/../../outside", "sub", "", "colors.txt"])
def test_a_name_that_is_no_file_of_the_folder_is_refused(folder: WildcardFolder, name: str) -> None:
    assert refuse(folder, name) == f"there is no wildcard {name}; there are colors, sub/colors_warm"


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    problem = "there is no wildcard x: the folder wildcards of the models folder has none"
    assert refuse(WildcardFolder(tmp_path), "x") == problem


def test_links_out_of_the_folder_are_refused_unless_they_are_allowed(folder: WildcardFolder) -> None:
    (folder.folder / "link.txt").symlink_to("../outside.txt")
    (folder.folder / "linked").symlink_to("..")
    assert "link.txt is a link to a place outside" in refuse(folder, "link")
    assert "linked is a link to a place outside" in refuse(folder, "linked/outside")
    assert folder.list_names() == ["colors", "sub/colors_warm"]
    open_folder = WildcardFolder(folder.folder, follow_links=True)
    assert open_folder.read_lines("link") == ("a secret",)
    assert "link" in open_folder.list_names()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"caf\xe9\n", "its file is not text in UTF-8"),
        (b"a\x00b\n", "its file is not text in UTF-8"),
        (b"# nothing\n\n", "its file has no line with a choice"),
        (b"x" * (MAX_FILE_BYTES + 1), "its file has more than 4 MB"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_by_name(folder: WildcardFolder, content: bytes, problem: str) -> None:
    (folder.folder / "bad.txt").write_bytes(content)
    assert refuse(folder, "bad") == f"__bad__ cannot be used: {problem}"


def test_a_pipe_does_not_block(folder: WildcardFolder) -> None:
    os.mkfifo(folder.folder / "pipe.txt")
    assert folder.list_names() == ["colors", "sub/colors_warm"]
    assert refuse(folder, "pipe").startswith("there is no wildcard pipe")
