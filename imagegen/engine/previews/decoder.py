"""Decodes latents to previews with a small autoencoder that was trained for it, such as TAESD.

https://github.com/madebyollin/taesd has them for Stable Diffusion 1, XL and 3, and for FLUX.1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# In pixels. Small enough to be sent several times a second.
MAX_DECODED_SIDE = 512


class PreviewDecoder:
    """`network` is an AutoencoderTiny. It decodes latents as the denoiser gets them."""

    max_side = MAX_DECODED_SIDE
    enlargement = 1

    def __init__(self, network: Any) -> None:
        self.network = network

    def to_rgb(self, latents: Tensor, columns: int) -> NDArray[np.uint8]:
        """Returns pictures of shape (n, 3, height, width), for latents of shape (n, channels, height, width)."""
        config, weight = self.network.config, next(self.network.parameters())
        scaled = latents.to(weight.device, torch.float32) / config.scaling_factor + config.shift_factor
        with torch.no_grad():
            decoded = [self.network.decode(each[None].to(weight.dtype)).sample for each in scaled]
        bytes_of_colours = (torch.cat(decoded).float() / 2 + 0.5).clamp(0, 1).mul(255).round()
        pictures: NDArray[np.uint8] = bytes_of_colours.byte().cpu().numpy()
        return pictures
