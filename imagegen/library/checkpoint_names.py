"""The names of the tensors in single-file checkpoints: one spelling for all tools, and which tensors carry nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from imagegen.library.original_tensors import (
    AUTOENCODER_PREFIX,
    CLIP_PREFIX,
    OPEN_CLIP_PREFIX,
    UNET_PREFIX,
    XL_CLIP_PREFIX,
    Shape,
)
from imagegen.library.weight_files import SafetensorsHeader

# The text encoder's own prefix, which files of 2022 and of transformers 5 leave out.
TEXT_MODEL = "text_model."
BARE_TEXT_NAMES = ("embeddings.", "encoder.", "final_layer_norm.")
# What SD-Turbo calls the text encoder of Stable Diffusion 2.
TURBO_PREFIX = "conditioner.embedders.0.model."
SHORT_AUTOENCODER_PREFIX = "vae."
# Tensors from which nothing of a picture follows. Those of the noise schedule follow from `alphas_cumprod`, which is
# compared with the configuration when the file is loaded, as `scale_factor` is.
EMPTY_PATTERNS = tuple(
    map(
        re.compile,
        (
            r"(^|\.)position_ids$",  # 0, 1, 2 and so on.
            r"(^|\.)logit_scale$",  # For the comparison of texts with pictures.
            r"^model_ema\.",  # Averages of the weights, beside them.
            r"^(scale_factor|betas|alphas_cumprod|alphas_cumprod_prev|logvar|lvlb_weights)$",
            r"^(sqrt|log)_\w*alphas_cumprod$",
            r"^posterior_(variance|log_variance_clipped|mean_coef1|mean_coef2)$",
            r"^denoiser\.(log_)?sigmas$",
            r"^(first_stage_model\.)?loss\.",  # The critic of an autoencoder's training.
            r"^embedding_manager\.embedder\.",  # A copy of the text encoder, from training an embedding.
            r"^(global_step|epoch|optimizer_states|lr_schedulers|callbacks)(\.|$)",
            # Projections of texts that these models do not use, but for the second encoder of Stable Diffusion XL.
            r"^(cond_stage_model|conditioner\.embedders\.0)\.(transformer|model)\.text_projection(\.weight)?$",
            # Stable Diffusion 2 reads the texts before the last layer.
            r"^cond_stage_model\.model\.transformer\.resblocks\.23\.",
        ),
    )
)
# Tensors that say how a model was trained: see `training_statements`.
VELOCITY_MARKER, ZERO_SNR_MARKER = "v_pred", "ztsnr"
EDM_MARKERS = ("edm_vpred.sigma_max", "edm_vpred.sigma_min", "edm_mean", "edm_std")
MARKERS = (VELOCITY_MARKER, ZERO_SNR_MARKER, *EDM_MARKERS)


def carries_nothing(name: str) -> bool:
    """Returns whether a tensor has no part in any picture, by its usual name."""
    return any(pattern.search(name) for pattern in EMPTY_PATTERNS)


def map_names(names: Iterable[str]) -> dict[str, str]:
    """Returns the usual name of each tensor of a checkpoint, by its name in the file.

    Usual names are those of the first releases, with `text_model.` in text encoders. The denoiser of FLUX.1 has no
    prefix.
    """
    names = list(names)
    is_flux = any(name.removeprefix(UNET_PREFIX).startswith("double_blocks.") for name in names)
    if is_flux:
        return {name: name.removeprefix(UNET_PREFIX) for name in names}
    has_unet = any(name.startswith(UNET_PREFIX) for name in names)
    prefixes = {SHORT_AUTOENCODER_PREFIX: AUTOENCODER_PREFIX} if has_unet else {}
    if not any(name.startswith(f"{UNET_PREFIX}label_emb.") for name in names):
        prefixes[TURBO_PREFIX] = OPEN_CLIP_PREFIX
    return {name: rename(name, prefixes) for name in names}


def rename(name: str, prefixes: Mapping[str, str]) -> str:
    for old, new in prefixes.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    for prefix in (CLIP_PREFIX, XL_CLIP_PREFIX):
        rest = name.removeprefix(prefix)
        if rest != name and rest.startswith(BARE_TEXT_NAMES):
            return prefix + TEXT_MODEL + rest
    return name


def list_names(header: SafetensorsHeader) -> dict[str, Shape]:
    """Returns the shapes of the tensors of a checkpoint by their usual names."""
    return {usual: header.shapes[name] for name, usual in map_names(header.shapes).items()}
