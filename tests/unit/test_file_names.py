"""Names of downloaded pictures."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from imagegen.file_names import FIELDS, build_file_name
from imagegen.settings import Settings
from tests.doubles import make_receipt

CREATED = 1_700_000_000.0  # 2023-11-14 22:13:20 UTC


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("A red circle, on blue!", "a-red-circle-on-blue"),
        ("Größe & Ähre", "größe-ähre"),
        ("白い猫", "白い猫"),
        ("กำลัง", "กำลัง"),
        ("../../etc/passwd", "etc-passwd"),
        ("one two three four five six seven eight nine", "one-two-three-four-five-six-seven-eight"),
        ("!!!", ""),
    ],
)
def test_words_of_any_script_are_kept(prompt: str, name: str) -> None:
    assert build_file_name(make_receipt(prompt=prompt, seed=7), CREATED, "{prompt}-{seed}") == f"{name}-7".lstrip("-")


def test_all_fields_can_be_used() -> None:
    pattern = "_".join(f"{{{name}}}" for name in FIELDS)
    name = build_file_name(make_receipt(prompt="a", seed=7), CREATED, pattern)
    assert name == "a_7_embedded_128_128_20_2023-11-14_22-13-20"


def test_a_name_of_the_longest_letters_is_short_enough_for_a_disk() -> None:
    name = build_file_name(make_receipt(prompt="\U00020000" * 500, seed=2**32 - 1), CREATED, "{prompt}-{seed}")
    assert len(f"{name}.jpeg".encode()) <= 255


@pytest.mark.parametrize(
    "pattern",
    ["", "picture", "{colour}", "{}", "{0}", "{prompt", "{prompt}/{seed}", "..\\{seed}", "{seed:>1000000000}",
     "{seed!x}", "{seed.real}", "{prompt[0]}", "{seed:%Q}"],
)  # fmt: skip
def test_a_pattern_that_gives_no_name_is_refused_at_the_start(pattern: str) -> None:
    with pytest.raises(ValidationError, match="must be a file name with fields in braces"):
        Settings(file_name_pattern=pattern)
