"""The networks of upscalers. Each takes RGB in 0..1 of shape (n, 3, h, w), and returns it with larger sides."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from imagegen.library.upscaler_architectures import DENSE_BLOCKS, DENSE_LAYERS, UpscalerArchitecture

# Of the leaky ReLUs of an ESRGAN, and of what its blocks add to their input.
NEGATIVE_SLOPE, RESIDUAL_SCALE = 0.2, 0.2


class CompactNetwork(nn.Module):
    """SRVGGNetCompact: layers at the size of the input, whose output is added to the nearest pixels of the input.

    https://github.com/xinntao/Real-ESRGAN/blob/master/realesrgan/archs/srvgg_arch.py
    """

    def __init__(self, scale: int, features: int, blocks: int) -> None:
        super().__init__()
        self.scale = scale
        layers: list[nn.Module] = [build_layer(3, features), nn.PReLU(features)]
        for _ in range(blocks):
            layers += [build_layer(features, features), nn.PReLU(features)]
        self.body = nn.Sequential(*layers, build_layer(features, 3 * scale**2))

    def forward(self, pixels: Tensor) -> Tensor:
        details = F.pixel_shuffle(self.body(pixels), self.scale)
        return details + F.interpolate(pixels, scale_factor=self.scale, mode="nearest")


class DenseBlock(nn.Module):
    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        for number in DENSE_LAYERS:
            outputs = growth if number < len(DENSE_LAYERS) else features
            setattr(self, f"conv{number}", build_layer(features + (number - 1) * growth, outputs))

    def forward(self, inputs: Tensor) -> Tensor:
        parts = [inputs]
        for number in DENSE_LAYERS:
            output: Tensor = getattr(self, f"conv{number}")(torch.cat(parts, 1))
            parts.append(F.leaky_relu(output, NEGATIVE_SLOPE) if number < len(DENSE_LAYERS) else output)
        return parts[-1] * RESIDUAL_SCALE + inputs


class ResidualBlock(nn.Module):
    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        for number in DENSE_BLOCKS:
            setattr(self, f"rdb{number}", DenseBlock(features, growth))

    def forward(self, inputs: Tensor) -> Tensor:
        output = inputs
        for number in DENSE_BLOCKS:
            output = getattr(self, f"rdb{number}")(output)
        return output * RESIDUAL_SCALE + inputs


class EsrganNetwork(nn.Module):
    """RRDBNet: https://github.com/XPixelGroup/BasicSR/blob/master/basicsr/archs/rrdbnet_arch.py.

    Sides of the input must be multiples of `unshuffle`.
    """

    def __init__(self, features: int, blocks: int, growth: int, unshuffle: int, doublings: int) -> None:
        super().__init__()
        self.unshuffle, self.doublings = unshuffle, doublings
        self.conv_first = build_layer(3 * unshuffle**2, features)
        self.body = nn.Sequential(*(ResidualBlock(features, growth) for _ in range(blocks)))
        self.conv_body = build_layer(features, features)
        for number in range(1, doublings + 1):
            setattr(self, f"conv_up{number}", build_layer(features, features))
        self.conv_hr = build_layer(features, features)
        self.conv_last = build_layer(features, 3)

    def forward(self, pixels: Tensor) -> Tensor:
        inputs = F.pixel_unshuffle(pixels, self.unshuffle) if self.unshuffle > 1 else pixels
        features = self.conv_first(inputs)
        features = features + self.conv_body(self.body(features))
        for number in range(1, self.doublings + 1):
            doubled = F.interpolate(features, scale_factor=2, mode="nearest")
            features = F.leaky_relu(getattr(self, f"conv_up{number}")(doubled), NEGATIVE_SLOPE)
        return cast(Tensor, self.conv_last(F.leaky_relu(self.conv_hr(features), NEGATIVE_SLOPE)))


def build_layer(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def build_network(architecture: UpscalerArchitecture) -> nn.Module:
    """Returns the network of an architecture, with random weights."""
    if architecture.name == "Compact":
        return CompactNetwork(architecture.scale, architecture.features, architecture.blocks)
    return EsrganNetwork(
        architecture.features,
        architecture.blocks,
        architecture.growth,
        architecture.unshuffle,
        architecture.doublings,
    )


def load_network(file: Path, architecture: UpscalerArchitecture, device: torch.device) -> nn.Module:
    """Returns the network in a file, in float32 on a device. Raises what safetensors and torch raise."""
    tensors = load_file(file)
    with torch.device("meta"):
        network = build_network(architecture)
    weights = {name: tensors[in_file].float() for name, in_file in architecture.names.items()}
    network.load_state_dict(weights, strict=True, assign=True)
    return network.to(device).eval().requires_grad_(False)
