"""Tiny networks with random weights that make control maps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import (
    ConvNextConfig,
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    DPTConfig,
    DPTForDepthEstimation,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    UperNetConfig,
    UperNetForSemanticSegmentation,
    VitPoseBackboneConfig,
    VitPoseConfig,
    VitPoseForPoseEstimation,
)

from tests.hub.detectors import save, save_yolos

CLASSES = {number: f"class {number}" for number in range(150)}
SIZE: dict[str, Any] = {"size": {"height": 64, "width": 64}}


def save_depth_anything(folder: Path, **config: Any) -> None:
    """Saves a Depth Anything, with changes of its configuration."""
    backbone = Dinov2Config(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=56,
        patch_size=14,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
    )
    sizes = {"reassemble_hidden_size": 16, "neck_hidden_sizes": [8, 8, 8, 8], "fusion_hidden_size": 8}
    processor = {"size": {"height": 56, "width": 56}, "ensure_multiple_of": 14, "keep_aspect_ratio": True}
    build = DepthAnythingConfig(backbone_config=backbone, head_hidden_size=8, **sizes, **config)
    save_network(lambda: DepthAnythingForDepthEstimation(build), folder, processor | {"do_normalize": True})


def save_dpt(folder: Path) -> None:
    """Saves a DPT for depth."""
    config = DPTConfig(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=64,
        patch_size=16,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        use_auxiliary_head=False,
    )
    save_network(lambda: DPTForDepthEstimation(config), folder, SIZE)


def save_segformer(folder: Path, classes: int = len(CLASSES)) -> None:
    """Saves a Segformer that knows so many classes."""
    names = {number: f"class {number}" for number in range(classes)}
    config = SegformerConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 8, 16, 16],
        num_attention_heads=[1, 1, 1, 1],
        decoder_hidden_size=16,
        id2label=names,
        label2id={name: number for number, name in names.items()},
    )
    save_network(lambda: SegformerForSemanticSegmentation(config), folder, SIZE)


def save_upernet(folder: Path) -> None:
    """Saves a UperNet with the backbone of those for ADE20K."""
    backbone = ConvNextConfig(
        depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 8, 8], out_features=["stage1", "stage2", "stage3", "stage4"]
    )
    names = {name: number for number, name in CLASSES.items()}
    config = UperNetConfig(
        backbone_config=backbone,
        hidden_size=8,
        auxiliary_in_channels=8,
        auxiliary_channels=8,
        pool_scales=[1, 2],
        id2label=CLASSES,
        label2id=names,
    )
    save_network(lambda: UperNetForSemanticSegmentation(config), folder, SIZE)


def save_vitpose(folder: Path) -> None:
    """Saves a ViTPose that sees each joint somewhere."""
    backbone = VitPoseBackboneConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=[64, 48], patch_size=[16, 16]
    )
    names = {number: f"joint {number}" for number in range(17)}
    config = VitPoseConfig(
        backbone_config=backbone, id2label=names, label2id={name: number for number, name in names.items()}
    )

    def build() -> Any:
        network = VitPoseForPoseEstimation(config)
        network.head.conv.bias.fill_(1)
        return network

    save_network(build, folder, {"size": {"height": 64, "width": 48}})


def save_person_detector(folder: Path) -> None:
    """Saves a detector that finds a person in the middle of each picture."""
    save_yolos(folder, [(0.5, 0.5, 0.5, 0.8)])
    config = folder / "config.json"
    labels = {"id2label": {"0": "person", "1": "hand"}, "label2id": {"person": 0, "hand": 1}}
    config.write_text(json.dumps(json.loads(config.read_text()) | labels))


def save_network(build: Any, folder: Path, processor: dict[str, Any]) -> None:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(3)
        network = build().eval()
        for weight in network.parameters():
            if weight.ndim > 1:
                weight.mul_(3)
    save(network, folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
