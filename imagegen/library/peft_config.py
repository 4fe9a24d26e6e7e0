"""What a LoRA file says of its own scale, in the terms of PEFT's `LoraConfig`.

diffusers writes it into the metadata of the file, as JSON in `lora_adapter_metadata` with the component before each
field (`transformer.lora_alpha`); PEFT writes `adapter_config.json` beside the file.
https://huggingface.co/docs/peft/package_reference/lora#peft.LoraConfig
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from imagegen.library.lora_tensors import UnsupportedLora

METADATA_KEY = "lora_adapter_metadata"
CONFIG_FILE = "adapter_config.json"
COMPONENTS = ("unet", "transformer", "text_encoder", "text_encoder_2", "text_encoder_3")
# PEFT's own defaults.
DEFAULT_RANK = DEFAULT_ALPHA = 8

# Fields that say how a LoRA was trained or made, and change nothing of what its tensors add to the weights.
TRAINING_FIELDS = frozenset({
    "auto_mapping", "base_model_name_or_path", "eva_config", "exclude_modules", "inference_mode", "layers_pattern",
    "layers_to_transform", "lora_dropout", "megatron_core", "peft_version", "qalora_group_size", "revision",
    "runtime_config", "target_modules", "task_type",
})  # fmt: skip
# Fields whose tensors say the same: a layer with a bias or a magnitude has a tensor for it.
TENSOR_FIELDS = frozenset({"lora_bias", "use_dora"})
# Values that change nothing. Other initial values than these also change the weights of the model.
HARMLESS_VALUES: Mapping[str, tuple[object, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none",),
    "init_lora_weights": (True, "gaussian", "eva", "orthogonal"),
}
MAX_PATTERNS, MAX_PATTERN_CHARS, MAX_REPETITIONS = 2000, 300, 3
REPETITION, REPEATED_GROUP = re.compile(r"[*+{]"), re.compile(r"\)[*+{]")
# Values of fields that are not set.
EMPTY_VALUES: tuple[object, ...] = (None, False, "", [], {})

# Numbers by the layers whose names match.
LayerPatterns = tuple[tuple[re.Pattern[str], float], ...]


@dataclass(frozen=True)
class PeftConfig:
    """Rank and alpha, and those of the layers whose names a pattern matches. `source` is where they are written."""

    source: str
    rank: int = DEFAULT_RANK
    alpha: float = DEFAULT_ALPHA
    use_rslora: bool = False
    rank_pattern: LayerPatterns = ()
    alpha_pattern: LayerPatterns = ()

    def get_scale(self, layer: str, rank: int) -> float:
        """Returns the factor of a layer's low-rank product. `rank` is that of its tensors.

        Raises UnsupportedLora if the rank is another than the one that is written.
        """
        expected = find_pattern(self.rank_pattern, layer, self.rank)
        if expected != rank:
            raise UnsupportedLora(f"the rank of {layer} is {rank}, and {self.source} says {expected:g}")
        alpha = find_pattern(self.alpha_pattern, layer, self.alpha)
        return alpha / math.sqrt(rank) if self.use_rslora else alpha / rank


def find_pattern(patterns: LayerPatterns, layer: str, default: float) -> float:
    """Returns the value of the first pattern that matches the end of a layer's name, as PEFT does."""
    return next((value for pattern, value in patterns if pattern.match(layer)), default)


def parse_peft_config(fields: Mapping[str, object], source: str) -> PeftConfig:
    """Returns the configuration. Raises UnsupportedLora for a field that changes weights and is not supported."""
    for name, value in fields.items():
        if name not in READERS and not is_harmless(name, value):
            raise UnsupportedLora(describe_field(name, source, value))
    config = PeftConfig(source)
    values = {to: read_field(name, fields, source, getattr(config, to)) for name, (to, _) in READERS.items()}
    return PeftConfig(source, **values)  # type: ignore[arg-type]


def is_harmless(name: str, value: object) -> bool:
    known = name in TRAINING_FIELDS or name in TENSOR_FIELDS
    return known or value in EMPTY_VALUES or value in HARMLESS_VALUES.get(name, ())


def describe_field(name: str, source: str, value: object) -> str:
    return f"{name} in {source} is {json.dumps(value)[:60]}, which is not supported"


def read_field(name: str, fields: Mapping[str, object], source: str, default: object) -> object:
    value = fields.get(name)
    if value is None:
        return default
    if not READERS[name][1](value):
        raise UnsupportedLora(describe_field(name, source, value))
    return compile_patterns(value) if isinstance(value, dict) else value


def compile_patterns(numbers: Mapping[str, float]) -> LayerPatterns:
    return tuple((re.compile(rf"(.*\.)?({key})$"), number) for key, number in numbers.items())


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_rank(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def is_pattern(value: object) -> bool:
    """Returns whether a value is a dictionary of numbers by parts of names, or by regular expressions."""
    if not isinstance(value, dict) or len(value) > MAX_PATTERNS:
        return False
    return all(is_regular_expression(key) and is_number(number) for key, number in value.items())


def is_regular_expression(text: str) -> bool:
    """Returns whether a text is a regular expression that takes no time that matters on the names of layers.

    Repeated groups and many repetitions can take forever.
    """
    if len(text) > MAX_PATTERN_CHARS or len(REPETITION.findall(text)) > MAX_REPETITIONS or REPEATED_GROUP.search(text):
        return False
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError):
        return False
    return True


# The fields that decide the scale: their names in PeftConfig, and what their values must be.
READERS = {
    "r": ("rank", is_rank),
    "lora_alpha": ("alpha", is_number),
    "use_rslora": ("use_rslora", lambda value: isinstance(value, bool)),
    "rank_pattern": ("rank_pattern", is_pattern),
    "alpha_pattern": ("alpha_pattern", is_pattern),
}


@dataclass(frozen=True)
class LoraStatements:
    """The configurations of a file by component; that of an empty name is for all layers."""

    configs: Mapping[str, PeftConfig] = field(default_factory=dict)

    def find(self, layer: str) -> tuple[PeftConfig, str] | None:
        """Returns the configuration for a layer of the file, and the layer's name in its component."""
        name = layer.removeprefix("base_model.model.")
        component, _, rest = name.partition(".")
        if component in self.configs:
            return self.configs[component], rest
        return (self.configs[""], name) if "" in self.configs else None


def parse_statements(metadata: Mapping[str, str], adapter_config: str | None) -> LoraStatements:
    """Returns what a file's metadata say, else what the text of an `adapter_config.json` says.

    Raises UnsupportedLora for a statement that cannot be read, or is not supported.
    """
    if METADATA_KEY in metadata:
        fields = parse_object(metadata[METADATA_KEY], METADATA_KEY)
        by_component: dict[str, dict[str, object]] = {}
        for key, value in fields.items():
            component, _, name = key.partition(".") if key.partition(".")[0] in COMPONENTS else ("", "", key)
            by_component.setdefault(component, {})[name] = value
        return LoraStatements({each: parse_peft_config(part, METADATA_KEY) for each, part in by_component.items()})
    if adapter_config is not None:
        return LoraStatements({"": parse_peft_config(parse_object(adapter_config, CONFIG_FILE), CONFIG_FILE)})
    return LoraStatements()


def parse_object(text: str, source: str) -> dict[str, object]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise UnsupportedLora(f"its {source} cannot be read")
    return value
