"""LoRAs and textual inversions of jobs. LoRA files are read once and kept in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from imagegen.engine.adapters.lora_file import Lora, read_lora
from imagegen.engine.adapters.merge import AdapterSet, WeightedLora
from imagegen.engine.adapters.textual_inversion import TextualInversion
from imagegen.engine.models.loaded import LoadedModel
from imagegen.engine.run_loop import run_in_thread, wait_for
from imagegen.schema.models import AdapterSource

# Bytes of LoRAs that are kept in memory.
MAX_CACHED_LORA_BYTES = 2 * 2**30


@dataclass(frozen=True)
class JobAdapters:
    """The LoRAs of one job, on its denoiser and on its text encoders, and its textual inversions."""

    denoiser: AdapterSet
    encoders: AdapterSet
    textual_inversions: Sequence[TextualInversion]


class AdapterCache:
    """Keeps the LoRAs that were used last, by the checksums of the file and of the configuration beside it."""

    def __init__(self, max_bytes: int = MAX_CACHED_LORA_BYTES) -> None:
        self.max_bytes = max_bytes
        self._loras: dict[str, Lora] = {}

    def resolve_adapters(self, adapters: Sequence[AdapterSource], model: LoadedModel) -> JobAdapters:
        """Returns the adapters of a job for a model. Raises UnusableModel for one that does not fit."""
        loras = [adapter for adapter in adapters if adapter.kind == "lora" and adapter.weight]
        weighted_loras = [
            WeightedLora(each.id, compute_fingerprint(each), self._load_lora(each), each.weight) for each in loras
        ]
        widths = model.prompt_encoder.widths if model.prompt_encoder else ()
        return JobAdapters(
            model.adapter_resolver.resolve(weighted_loras, for_encoders=False),
            model.adapter_resolver.resolve(weighted_loras, for_encoders=True),
            [TextualInversion(adapter, widths) for adapter in adapters if adapter.kind == "embedding"],
        )

    def _load_lora(self, source: AdapterSource) -> Lora:
        """Returns a LoRA. Other tasks go on while it is read from disk."""
        key = compute_fingerprint(source)
        lora = self._loras.get(key) or wait_for(run_in_thread(lambda: read_lora(source)))
        self._loras.pop(key, None)
        self._loras[key] = lora
        while len(self._loras) > 1 and sum(map(measure_lora_bytes, self._loras.values())) > self.max_bytes:
            del self._loras[next(iter(self._loras))]
        return lora


def compute_fingerprint(source: AdapterSource) -> str:
    """Returns a text that is equal for sources with the same file and the same configuration beside it."""
    if source.peft_config is None:
        return source.sha256
    return f"{source.sha256} {hashlib.sha256(source.peft_config.encode()).hexdigest()}"


def measure_lora_bytes(lora: Lora) -> int:
    return sum(update.nbytes for update in lora.values())
