"""LoRAs and textual inversions, read once and put on for one job at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from imagegen.engine.fibres import elsewhere, waited
from imagegen.engine.held import Held
from imagegen.engine.inversions import Inversion
from imagegen.engine.loras import Lora, read_lora
from imagegen.engine.wearing import Outfit, Worn
from imagegen.info import AdapterSource

# Bytes of LoRAs that stay in memory.
ROOM = 2 * 2**30


@dataclass(frozen=True)
class Dressed:
    """What one job wears: its denoiser, its text encoders, and the words that its prompts may name."""

    denoiser: Outfit
    encoders: Outfit
    inversions: Sequence[Inversion]


class AdapterCache:
    """What was used last stays in memory, by the checksum of its file and by the class of the pipeline."""

    def __init__(self, room: int = ROOM) -> None:
        self.room = room
        self._loras: dict[tuple[str, str], Lora] = {}

    def dressed(self, adapters: Sequence[AdapterSource], held: Held) -> Dressed:
        """Raises UnusableModel for an adapter that does not fit."""
        loras = [adapter for adapter in adapters if adapter.kind == "lora" and adapter.weight]
        stack = [Worn(each.id, each.sha256, self._lora(each, held), each.weight) for each in loras]
        widths = held.encoder.widths if held.encoder else ()
        return Dressed(
            held.tailor.outfit(stack, encoders=False),
            held.tailor.outfit(stack, encoders=True),
            [Inversion(adapter, widths) for adapter in adapters if adapter.kind == "embedding"],
        )

    def _lora(self, source: AdapterSource, held: Held) -> Lora:
        """Others go on while it is read."""
        key = source.sha256, type(held.pipeline).__name__
        lora = self._loras.get(key) or waited(elsewhere(lambda: read_lora(source, held.pipeline)))
        self._loras.pop(key, None)
        self._loras[key] = lora
        while len(self._loras) > 1 and sum(map(size_of, self._loras.values())) > self.room:
            del self._loras[next(iter(self._loras))]
        return lora


def size_of(lora: Lora) -> int:
    return sum(factors.down.nbytes + factors.up.nbytes for factors in lora.values())
