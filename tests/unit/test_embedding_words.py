"""Where the words of textual inversions are in a prompt: the rule of AUTOMATIC1111's web UI."""

from __future__ import annotations

import pytest

from imagegen.schema.embedding_words import find_used_embeddings, find_words


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("a cat", []),
        ("easynegative", ["easynegative"]),
        ("ugly, EASYnegative, blurry", ["EASYnegative"]),
        ("<EasyNegative>", ["<EasyNegative>"]),
        ("EasyNegatives", []),
        ("VeryEasyNegative EasyNegative_2", []),
        ("猫EasyNegative", ["EasyNegative"]),
        ("かわいいEasyNegativeの猫", ["EasyNegative"]),
        ("EasyNegativeแมว", ["EasyNegative"]),
        ("ÉEasyNegative", []),
        ("easynegative-v2", ["easynegative-v2"]),
        ("easynegative-v3", ["easynegative"]),
        ("not-easynegative.", ["easynegative"]),
        ("EasyNegative EasyNegative", ["EasyNegative", "EasyNegative"]),
        ("C++, c++x", ["C++"]),
    ],
)
def test_words_are_found(text: str, places: list[str]) -> None:
    found = list(find_words(text, ("EasyNegative", "EasyNegative-v2", "c++")))
    assert [text[place.start : place.end] for place in found] == places


def test_without_words_nothing_is_found() -> None:
    assert list(find_words("a cat", ())) == []


def test_letters_whose_case_changes_their_number_are_found() -> None:
    assert [found.word for found in find_words("\N{LATIN SMALL LETTER LONG S}traße", ("Straße",))] == ["Straße"]


@pytest.mark.parametrize(
    ("prompts", "used"),
    [
        (["a cat"], []),
        (["a cat", "(bad-HANDS:1.3)"], ["hands.id"]),
        (["a bad handshake"], []),
        (["[hands"], ["hands.id"]),
        ([r"hands\(xl\)"], ["xl.id"]),
        (["hands(xl)"], ["hands.id"]),
        (["a BREAK hands"], ["hands.id"]),
        (["a hands, hands\\(xl\\)"], ["hands.id", "xl.id"]),
    ],
)
def test_a_prompt_uses_the_embeddings_whose_words_the_text_encoder_gets(prompts: list[str], used: list[str]) -> None:
    words = {"hands.id": ("hands", "bad-hands"), "xl.id": ("hands(xl)",)}
    assert find_used_embeddings(prompts, words) == used
