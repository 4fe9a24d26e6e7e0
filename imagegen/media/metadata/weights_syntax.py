"""Weights of words in prompts, as other tools write them, in the syntax of the studio: `(words:1.2)`."""

from __future__ import annotations

import re

# Levels of brackets, above which a text is left as it is.
MAX_LEVELS = 16
NOVELAI_STEP = 1.05
# A longer text is left as it is: prompts are cut at half of this.
MAX_CHARS = 8000
NUMERIC_WEIGHT = re.compile(r"(-?\d+(?:\.\d+)?)::((?:(?!::).)*)::", re.DOTALL)
# InvokeAI: a word or a text in brackets, followed by a number, or by signs of which each is a tenth.
COMPEL_WEIGHT = re.compile(r"\(([^()]*)\)(\d+(?:\.\d+)?|\++|-+)(?![\w.])|([\w']+)(\++|--+)(?=[\s,.;)]|$)")


def convert_novelai(text: str) -> str:
    """Returns a prompt with NovelAI's weights: `{more}`, `[less]` and `1.2::words::`.

    Round brackets are plain characters there. A text whose brackets are not closed is returned as it is.
    """
    if len(text) > MAX_CHARS or not re.search(r"[{}\[\]]|::", text):
        return text
    plain = re.sub(r"([()])", r"\\\1", text)
    plain = NUMERIC_WEIGHT.sub(lambda match: f"({match[2]}:{float(match[1]):g})", plain)
    parts: list[str] = []
    open_brackets: list[str] = []
    for character in plain:
        if character in "{[":
            open_brackets.append(character)
            parts.append("(")
        elif character in "}]":
            if not open_brackets or open_brackets.pop() != {"}": "{", "]": "["}[character]:
                return text
            parts.append(f":{NOVELAI_STEP if character == '}' else 1 / NOVELAI_STEP:.2f})")
        else:
            parts.append(character)
        if len(open_brackets) > MAX_LEVELS:
            return text
    return text if open_brackets else "".join(parts)


def convert_invokeai(text: str) -> str:
    """Returns a prompt with InvokeAI's weights: `(words)1.2`, `(words)++` and `word--`."""
    return COMPEL_WEIGHT.sub(format_compel_weight, text) if len(text) <= MAX_CHARS else text


def format_compel_weight(match: re.Match[str]) -> str:
    words, weight = (match[1], match[2]) if match[1] is not None else (match[3], match[4])
    if weight[0] in "+-":
        step = 1.1 if weight[0] == "+" else 0.9
        return f"({words}:{step ** min(len(weight), MAX_LEVELS):.2f})"
    return f"({words}:{float(weight):g})"
