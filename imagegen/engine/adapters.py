"""LoRAs and textual inversions, read once and put on for one job at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from imagegen.engine.inversions import Inversion
from imagegen.engine.loras import Lora, read_lora
from imagegen.engine.store import Held
from imagegen.engine.wearing import Worn
from imagegen.info import AdapterSource

# Bytes of LoRAs that stay in memory.
ROOM = 2 * 2**30


class AdapterCache:
    """What was used last stays in memory, by the checksum of its file and by the class of the pipeline."""

    def __init__(self, room: int = ROOM) -> None:
        self.room = room
        self._loras: dict[tuple[str, str], Lora] = {}

    @contextmanager
    def worn(self, adapters: Sequence[AdapterSource], held: Held) -> Iterator[list[Inversion]]:
        """The model wears exactly these LoRAs; yields the inversions, which its prompts may name.

        Raises UnusableModel for one that does not fit.
        """
        loras = [adapter for adapter in adapters if adapter.kind == "lora" and adapter.weight]
        held.wardrobe.wear([Worn(each.id, each.sha256, self._lora(each, held), each.weight) for each in loras])
        widths = held.encoder.widths if held.encoder else ()
        yield [Inversion(adapter, widths) for adapter in adapters if adapter.kind == "embedding"]

    def _lora(self, source: AdapterSource, held: Held) -> Lora:
        key = source.sha256, type(held.pipeline).__name__
        lora = self._loras.pop(key, None) or read_lora(source, held.pipeline)
        self._loras[key] = lora
        while len(self._loras) > 1 and sum(map(size_of, self._loras.values())) > self.room:
            del self._loras[next(iter(self._loras))]
        return lora


def size_of(lora: Lora) -> int:
    return sum(factors.down.nbytes + factors.up.nbytes for factors in lora.values())
