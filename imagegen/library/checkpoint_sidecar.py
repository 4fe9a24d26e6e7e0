"""Files beside a checkpoint in which its owner says what its tensors do not show.

`mine.studio.json` beside `mine.safetensors` has fields of `Sidecar`; `mine.yaml` is a configuration of CompVis or
Stability AI, as other programs read it, of which what the denoiser predicts is used.
"""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import ValidationError

from imagegen.library.checkpoint_detection import UnsupportedCheckpoint
from imagegen.library.training_statements import PREDICTION_BY_WORD
from imagegen.schema.base import FrozenModel
from imagegen.schema.models import PredictionType
from imagegen.text import describe_first_problem, truncate

SIDECAR_SUFFIX, YAML_SUFFIX = ".studio.json", ".yaml"
MAX_YAML_BYTES = 100_000
# What the configurations of the first releases say where they say nothing.
DEFAULT_PARAMETERIZATION = "eps"


class Sidecar(FrozenModel):
    """`config` is the name of a shipped configuration, or a folder in diffusers format beside the checkpoint."""

    prediction_type: PredictionType | None = None
    zero_snr: bool | None = None
    config: str | None = None


def read_sidecar(checkpoint: Path) -> Sidecar:
    """Returns what the files beside a checkpoint say. Raises UnsupportedCheckpoint for one that cannot be used."""
    file = checkpoint.with_suffix(SIDECAR_SUFFIX)
    if not file.is_file():
        return read_yaml(checkpoint.with_suffix(YAML_SUFFIX))
    try:
        return Sidecar.model_validate_json(file.read_bytes())
    except OSError:
        raise UnsupportedCheckpoint(f"{file.name} beside it cannot be read") from None
    except ValidationError as error:
        raise UnsupportedCheckpoint(f"{file.name} beside it: {describe_first_problem(error)}") from None


def read_yaml(file: Path) -> Sidecar:
    """Returns what a configuration of CompVis or Stability AI says; nothing if there is none."""
    try:
        if not file.is_file() or file.stat().st_size > MAX_YAML_BYTES:
            return Sidecar()
        word = yaml.safe_load(file.read_bytes())["model"]["params"].get("parameterization", DEFAULT_PARAMETERIZATION)
    except (OSError, yaml.YAMLError, LookupError, TypeError, AttributeError, ValueError, RecursionError):
        raise UnsupportedCheckpoint(f"{file.name} beside it is no configuration of a Stable Diffusion") from None
    if word not in PREDICTION_BY_WORD:
        raise UnsupportedCheckpoint(f"{file.name} beside it: parameterization is {truncate(str(word))}")
    return Sidecar(prediction_type=PREDICTION_BY_WORD[word])
