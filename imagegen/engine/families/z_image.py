"""Z-Image. Its autoencoder is that of FLUX.1."""

from __future__ import annotations

from imagegen.engine.batching.collate import BatchRules
from imagegen.engine.families.base import ModelFamily
from imagegen.engine.families.flux import Flux
from imagegen.library.family_facts import Z_IMAGE


class ZImage(ModelFamily):
    """The denoiser takes lists with one tensor per row: of latents, and of text features."""

    facts = Z_IMAGE
    batch_rules = BatchRules(timesteps=("t",), lists=("x", "cap_feats"))
    preview_projection = Flux.preview_projection
