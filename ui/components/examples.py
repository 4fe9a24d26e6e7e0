"""The pictures with their prompts that the page shows before the first picture."""

from __future__ import annotations

from dataclasses import dataclass

EXAMPLES_ADDRESS = "page-assets/examples"


@dataclass(frozen=True)
class Example:
    """A prompt, and the address of a picture that the embedded model painted from it, with its settings and seed 1."""

    address: str
    prompt: str


EXAMPLES = tuple(
    Example(f"{EXAMPLES_ADDRESS}/{name}.webp", prompt)
    for name, prompt in {
        "boat": "a yellow boat on the sea at noon",
        "star": "a yellow star above a purple heart on white",
        "lake": "a lake at sunset with a boat, oil painting",
        "city": "pixel art of a city at night",
        "car": "a green car on a gray background",
        "sheep": "a sheep in a meadow with flowers and a rainbow",
    }.items()
)
