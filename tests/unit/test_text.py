"""Texts for people."""

from __future__ import annotations

import pytest

from imagegen.text import hide_paths


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no file named /home/me/models/a/model.safetensors found", "no file named model.safetensors found"),
        ("[Errno 2] No such file: '/data/x/config.json'", "[Errno 2] No such file: 'config.json'"),
        ("in directory /srv/models/a/.", "in directory a"),
        ("see https://example.org/a/b and 1/2 or and/or", "see https://example.org/a/b and 1/2 or and/or"),
        ("shape (1, 2)/(3, 4) of unet/config.json", "shape (1, 2)/(3, 4) of unet/config.json"),
    ],
)
def test_paths_of_the_server_are_hidden(text: str, shown: str) -> None:
    assert hide_paths(text) == shown
