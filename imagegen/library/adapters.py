"""LoRAs and textual inversions: those shipped, those in the models folder, and those in the Hub's caches."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from imagegen.errors import UnusableModel
from imagegen.library.architectures import detect_embedding_architecture
from imagegen.library.author_picture import find_picture
from imagegen.library.file_index import FileIndex
from imagegen.library.lora_header import LoraFacts, inspect_lora, read_adapter_config
from imagegen.library.lora_tensors import is_lora
from imagegen.library.model_info import READ_ERRORS
from imagegen.library.peft_config import CONFIG_FILE
from imagegen.library.weight_files import SafetensorsHeader
from imagegen.schema.models import AdapterInfo, AdapterKind, AdapterSettings, AdapterSource
from imagegen.schema.prompt_weights import CHUNK_TOKENS

# Tensor names that tools give to the vectors of a textual inversion when they do not write its token.
GENERIC_VECTOR_NAMES = ("emb_params", "clip_l", "clip_g", "text_encoders_0", "text_encoders_1")
# Training tools count the tags of all captions; the most frequent ones are listed as trigger words.
MAX_TRIGGER_WORDS = 5


@dataclass(frozen=True)
class Adapter:
    """An adapter and the path of its safetensors file. `peft_config` is the text of PEFT's configuration beside it."""

    info: AdapterInfo
    path: Path
    peft_config: str | None = None


class AdapterIndex(FileIndex[Adapter]):
    """All adapters of one kind."""

    kind: AdapterKind

    def get_source(self, reference: str, weight: float = 1.0) -> AdapterSource:
        """Returns what a worker needs to apply the adapter. Reads the whole file once, for its SHA-256.

        Raises what `get` raises.
        """
        adapter = self.get(reference)
        return AdapterSource(
            kind=self.kind,
            id=adapter.info.id,
            name=adapter.info.name,
            path=adapter.path.absolute(),
            sha256=self.checksums.compute_weights(adapter.path),
            architecture=adapter.info.architecture,
            control_types=adapter.info.control_types,
            control_modes=adapter.info.control_modes,
            latents=adapter.info.latents,
            labels=adapter.info.labels,
            trigger=adapter.info.trigger,
            peft_config=adapter.peft_config,
            weight=weight,
        )

    def list_sources(self, reference: str, weight: float = 1.0) -> tuple[AdapterSource, ...]:
        """Returns the adapter's source, followed by those of the networks that it needs. Raises what `get` raises."""
        return (self.get_source(reference, weight),)

    def _describe(self, reference: str, path: Path, header: SafetensorsHeader) -> Adapter:
        if not is_adapter(self.kind, header):
            raise UnusableModel(reference, f"it contains no {self.kind}", self.kind)
        if self.kind == "embedding":
            check_vector_count(reference, header)
        peft_config = self._read_peft_config(reference, path, header) if self.kind == "lora" else None
        found = self._inspect_lora(reference, path, peft_config) if self.kind == "lora" else None
        info = build_adapter_info(self.kind, reference, path, header, found or inspect_embedding(header))
        facts = {"deletable": self.snapshots.is_download(path), "has_picture": find_picture(path) is not None}
        return Adapter(info.model_copy(update=facts), path, peft_config)

    def _read_peft_config(self, reference: str, path: Path, header: SafetensorsHeader) -> str | None:
        """Returns the text of PEFT's configuration beside a LoRA. Raises UnusableModel for a link out of the folder."""
        self._check_links(reference, path.with_name(CONFIG_FILE))
        return read_adapter_config(path, header)

    def _inspect_lora(self, reference: str, path: Path, peft_config: str | None) -> LoraFacts:
        """Returns what is known of a LoRA. Raises UnusableModel for a tensor or a statement that cannot be used."""
        facts = inspect_lora(path, peft_config)
        if facts.problem is not None:
            raise UnusableModel(reference, facts.problem, self.kind)
        return facts


def inspect_embedding(header: SafetensorsHeader) -> LoraFacts:
    return LoraFacts(detect_embedding_architecture(header))


def is_adapter(kind: AdapterKind, header: SafetensorsHeader) -> bool:
    """Returns whether the tensors of a file are those of a LoRA, or the one or two of a textual inversion."""
    if kind == "lora":
        return is_lora(header.shapes)
    return 0 < len(header.shapes) <= 2 and all(0 < len(shape) <= 2 for shape in header.shapes.values())


def build_adapter_info(
    kind: AdapterKind, reference: str, path: Path, header: SafetensorsHeader, facts: LoraFacts
) -> AdapterInfo:
    """Returns the description of an adapter from the tensors and metadata of its file; `path` must exist."""
    metadata = header.metadata
    fallback_name = reference if "snapshots" in path.parts else path.stem
    base_model_keys = ("ss_base_model_version", "ss_sd_model_name", "modelspec.architecture")
    return AdapterInfo(
        kind=kind,
        id=reference,
        name=metadata.get("modelspec.title") or metadata.get("ss_output_name") or fallback_name,
        architecture=facts.architecture,
        trigger=read_trigger_words(metadata) if kind == "lora" else find_embedding_words(reference, header),
        base_model=next((metadata[name] for name in base_model_keys if metadata.get(name)), None),
        description=metadata.get("modelspec.description"),
        licence=metadata.get("modelspec.license"),
        settings=read_settings(metadata) if kind == "lora" else None,
        shared_passes=facts.shared_passes,
        size=path.stat().st_size,
    )


def check_vector_count(reference: str, header: SafetensorsHeader) -> None:
    """Raises UnusableModel for a textual inversion that does not fit into a part of a prompt."""
    count = max(shape[0] if len(shape) == 2 else 1 for shape in header.shapes.values())
    if count > CHUNK_TOKENS:
        problem = f"it has {count} vectors, and a part of a prompt has room for {CHUNK_TOKENS}"
        raise UnusableModel(reference, problem, "embedding")


def find_embedding_words(reference: str, header: SafetensorsHeader) -> tuple[str, ...]:
    """Returns the words that stand for a textual inversion in a prompt: its file's name, and that of its vectors.

    Names such as `*` and `emb_params` stand for nothing.
    """
    file_name = PurePosixPath(reference).name.removesuffix(".safetensors")
    tokens = (name.strip("<>") for name in header.shapes if name not in GENERIC_VECTOR_NAMES)
    return tuple(dict.fromkeys((file_name, *(token for token in tokens if re.search(r"\w", token)))))


def read_settings(metadata: dict[str, str]) -> AdapterSettings | None:
    """Returns the settings that a LoRA was made for, as its author wrote them: a JSON object in `studio.settings`."""
    try:
        return AdapterSettings.model_validate_json(metadata["studio.settings"])
    except (KeyError, ValidationError):
        return None


def read_trigger_words(metadata: dict[str, str]) -> tuple[str, ...]:
    """Returns the trigger words of a LoRA: the author's phrase, else the most frequent tags of its captions."""
    if phrase := metadata.get("modelspec.trigger_phrase"):
        return (phrase,)
    try:
        counts: dict[str, int] = {}
        for folder in json.loads(metadata.get("ss_tag_frequency", "{}")).values():
            for word, count in folder.items():
                counts[word.strip()] = counts.get(word.strip(), 0) + count
    except READ_ERRORS:
        return ()
    return tuple(sorted(counts, key=lambda word: -counts[word])[:MAX_TRIGGER_WORDS])
