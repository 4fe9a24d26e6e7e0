"""Models that do not fit on the device as a whole: parts of them are moved to it while they work."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

import torch
from torch import nn

from imagegen.engine.models.measure_memory import list_networks
from imagegen.engine.protocols import Pipeline

# "off": the whole model is on the device. "encoders": text encoders and denoiser take turns there. "offload": one
# network at a time. "layers": one layer at a time.
OffloadMode = Literal["off", "encoders", "offload", "layers"]
OFFLOAD_MODES: tuple[OffloadMode, ...] = get_args(OffloadMode)


def choose_offload_mode(requested: str, sizes: dict[str, int], budget: float) -> OffloadMode:
    """Returns the fastest mode in which a model fits into a budget in bytes. `sizes` are in bytes by component."""
    for mode in OFFLOAD_MODES:
        if mode == requested:
            return mode
    fitting = (mode for mode in OFFLOAD_MODES[:-1] if compute_device_bytes(sizes, mode) <= budget)
    return next(fitting, "layers")


def compute_device_bytes(sizes: dict[str, int], mode: OffloadMode) -> int:
    """Returns how many bytes of a model are on the device at once."""
    encoders = sum(size for part, size in sizes.items() if part.startswith("text_encoder"))
    total = sum(sizes.values())
    return {
        "off": total,
        "encoders": max(total - encoders, encoders),
        "offload": max(sizes.values()),
        "layers": total // 10,
    }[mode]


class EncoderOffloader:
    """Lets text encoders and denoiser take turns on the device."""

    def __init__(self, pipeline: Pipeline, denoiser: nn.Module, device: torch.device) -> None:
        parts = pipeline.components.items()
        self.encoders = [
            part for name, part in parts if name.startswith("text_encoder") and isinstance(part, nn.Module)
        ]
        self.denoiser, self.device, self.offload_device = denoiser, device, torch.device("cpu")
        self.denoiser.register_forward_pre_hook(lambda *_: self.activate_denoiser())

    def activate_encoders(self) -> None:
        """Moves the text encoders to the device, before a stage."""
        move_networks([self.denoiser], self.offload_device)
        move_networks(self.encoders, self.device)

    def activate_denoiser(self) -> None:
        """Moves the denoiser to the device, before each step; only the first step moves anything."""
        move_networks(self.encoders, self.offload_device)
        move_networks([self.denoiser], self.device)


def move_networks(networks: Iterable[nn.Module], device: torch.device) -> None:
    for network in networks:
        if next(network.parameters()).device.type != device.type:
            network.to(device)


def place_pipeline(
    pipeline: Pipeline, mode: OffloadMode, device: torch.device, denoiser: nn.Module
) -> EncoderOffloader | None:
    """Brings a pipeline to the device in a mode. Returns what moves the networks in the mode "encoders"."""
    match mode:
        case "off":
            pipeline.to(device)
        case "encoders":
            offloader = EncoderOffloader(pipeline, denoiser, device)
            taking_turns = (*offloader.encoders, offloader.denoiser)
            move_networks([part for part in list_networks(pipeline) if part not in taking_turns], device)
            return offloader
        case "offload":
            pipeline.enable_model_cpu_offload(device=device)
        case "layers":
            pipeline.enable_group_offload(
                onload_device=device, offload_device=torch.device("cpu"), offload_type="leaf_level"
            )
    return None
