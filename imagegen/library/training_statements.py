"""What a checkpoint says about its training: what its denoiser predicts, and whether it began at pure noise."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imagegen.library.checkpoint_detection import Checkpoint, ConfigName, UnsupportedCheckpoint
from imagegen.library.checkpoint_names import VELOCITY_MARKER, ZERO_SNR_MARKER, map_names
from imagegen.library.original_tensors import UNET_PREFIX
from imagegen.library.weight_files import SafetensorsHeader, read_values
from imagegen.schema.models import PredictionType
from imagegen.text import truncate

# Stability AI's standard for metadata: https://github.com/Stability-AI/ModelSpec
METADATA_KEYS = ("modelspec.prediction_type", "modelspec.predict_key")
ARCHITECTURE_KEY = "modelspec.architecture"
PREDICTION_BY_WORD: dict[str, PredictionType] = {
    "epsilon": "epsilon",
    "eps": "epsilon",
    "v": "v_prediction",
    "v_prediction": "v_prediction",
    "v-prediction": "v_prediction",
    "velocity": "v_prediction",
    "sample": "sample",
    "x0": "sample",
}
# The names that kohya's scripts write for Stable Diffusion 2.
PREDICTION_BY_ARCHITECTURE: dict[str, PredictionType] = {
    "stable-diffusion-v2-512": "epsilon",
    "stable-diffusion-v2-768-v": "v_prediction",
}
# The configuration for the noise levels of EDM that a tensor asks for: of CosXL and of Playground 2.5.
CONFIG_BY_MARKER: dict[str, ConfigName] = {"edm_vpred.sigma_max": "cosxl", "edm_mean": "playground-2.5"}
# The values of such tensors, in files of the configuration.
EDM_VALUES = {
    "edm_vpred.sigma_max": ("scheduler/scheduler_config.json", "sigma_max"),
    "edm_vpred.sigma_min": ("scheduler/scheduler_config.json", "sigma_min"),
    "edm_mean": ("vae/config.json", "latents_mean"),
    "edm_std": ("vae/config.json", "latents_std"),
}
EDM_TOLERANCE = 1e-2
# What tells Stable Diffusion 2 at 768 pixels from that at 512: the spread of this bias, by ComfyUI's rule
# (comfy/supported_models.py, SD20). There the standard deviation is above 0.09.
VELOCITY_BIAS = f"{UNET_PREFIX}output_blocks.11.1.transformer_blocks.0.norm1.bias"
VELOCITY_SPREAD = 0.09


@dataclass(frozen=True)
class Training:
    """What a denoiser predicts, and whether its training began at pure noise (zero terminal signal-to-noise ratio).

    None where nothing says it: then the configuration decides.
    """

    prediction_type: PredictionType | None = None
    zero_snr: bool | None = None


def read_training(
    file: Path, header: SafetensorsHeader, checkpoint: Checkpoint, said: Training, has_config: bool
) -> Training:
    """Returns what a checkpoint says about its training. `said` is what its owner says, which counts more.

    `has_config`: its owner gave it a configuration, so that nothing is left to guess.

    Raises UnsupportedCheckpoint for a statement that cannot be followed, and for two that disagree.
    """
    prediction = said.prediction_type or find_statement(header)
    if prediction is None and not has_config:
        prediction = guess_prediction(file, header, checkpoint)
    zero_snr = said.zero_snr
    if zero_snr is None and ZERO_SNR_MARKER in header.shapes:
        zero_snr = True
    return Training(prediction, zero_snr)


def find_edm_config(header: SafetensorsHeader) -> ConfigName | None:
    """Returns the configuration for the noise levels of EDM, None for a file that does not ask for them."""
    return next((config for name, config in CONFIG_BY_MARKER.items() if name in header.shapes), None)


def check_edm_values(file: Path, header: SafetensorsHeader, folder: Path) -> None:
    """Raises UnsupportedCheckpoint for a file whose numbers for EDM are not those of its configuration in `folder`.

    Raises OSError and ValueError for a configuration or a tensor that cannot be read.
    """
    for name, (config, key) in EDM_VALUES.items():
        if name in header.shapes:
            known = json.loads((folder / config).read_bytes()).get(key)
            values = read_values(file, header, name)
            expected = np.atleast_1d(np.asarray(0 if known is None else known, np.float64))
            if known is None or values.shape != expected.shape or not np.allclose(values, expected, rtol=EDM_TOLERANCE):
                raise UnsupportedCheckpoint(f"its tensor {name} is not {known}, as its configuration says")


def find_statement(header: SafetensorsHeader) -> PredictionType | None:
    """Returns what the metadata and the markers of a file say that it predicts. Raises UnsupportedCheckpoint."""
    statements = dict(list_statements(header))
    if len(set(statements.values())) > 1:
        texts = [f"{name} says {kind}" for name, kind in statements.items()]
        raise UnsupportedCheckpoint(f"{' and '.join(texts)}; prediction_type in a catalogue.json can decide")
    return next(iter(statements.values()), None)


def list_statements(header: SafetensorsHeader) -> Iterator[tuple[str, PredictionType]]:
    """Yields what says what a denoiser predicts, and what it says."""
    if VELOCITY_MARKER in header.shapes:
        yield f"its tensor {VELOCITY_MARKER}", "v_prediction"
    for key in METADATA_KEYS:
        word = header.metadata.get(key, "").strip().lower()
        if word and word not in PREDICTION_BY_WORD:
            raise UnsupportedCheckpoint(
                f"its metadata {key} is {truncate(word)}; it can be {', '.join(PREDICTION_BY_WORD)}"
            )
        if word:
            yield f"its metadata {key}", PREDICTION_BY_WORD[word]
    architecture = header.metadata.get(ARCHITECTURE_KEY, "").strip().lower()
    if architecture in PREDICTION_BY_ARCHITECTURE:
        yield f"its metadata {ARCHITECTURE_KEY}", PREDICTION_BY_ARCHITECTURE[architecture]


def guess_prediction(file: Path, header: SafetensorsHeader, checkpoint: Checkpoint) -> PredictionType | None:
    """Returns what a Stable Diffusion 2 predicts, whose two sizes have the same tensors; None for any other file."""
    if checkpoint.config != "sd-2":
        return None
    names = {usual: name for name, usual in map_names(header.shapes).items()}
    if checkpoint.in_channels != 4 or VELOCITY_BIAS not in names:  # Those for inpainting predict noise.
        return "epsilon"
    return "v_prediction" if read_values(file, header, names[VELOCITY_BIAS]).std() > VELOCITY_SPREAD else "epsilon"
