"""Tiny detectors with random weights, which find objects of two labels in certain places."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    DFineConfig,
    DFineForObjectDetection,
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrResNetConfig,
    RTDetrV2Config,
    RTDetrV2ForObjectDetection,
    YolosConfig,
    YolosForObjectDetection,
)

from imagegen.engine.models.loading import disable_progress_bars

# Shares of a picture: the middle of a box, its width and its height.
Place = tuple[float, float, float, float]
LABELS = {0: "face", 1: "hand"}
CONFIDENCE_LOGIT = 4.0


def save_yolos(folder: Path, places: Sequence[Place], *, label: int = 0, wander: float = 0.0) -> None:
    """Saves a detector that finds one object at each place, with confidence 0.96.

    With `wander`, the boxes also depend on the picture.
    """
    config = YolosConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=[64, 64],
        num_detection_tokens=len(places),
        use_mid_position_embeddings=False,
        id2label=LABELS,
        label2id={name: number for number, name in LABELS.items()},
    )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(3)
        network: Any = YolosForObjectDetection(config)
        for name, weight in network.named_parameters():
            weight.copy_(torch.randn_like(weight) if "embeddings" in name or "bbox" in name else weight)
            if name.startswith("vit.encoder"):
                weight.mul_(wander)
        for layer in network.class_labels_classifier.layers:
            layer.weight.zero_()
            layer.bias.zero_()
        network.class_labels_classifier.layers[-1].bias[label] = CONFIDENCE_LOGIT
        aim(network, places)
    save(network, folder)
    size = {"shortest_edge": 64, "longest_edge": 64}
    (folder / "preprocessor_config.json").write_text(json.dumps({"size": size}))


def save(network: Any, folder: Path) -> None:
    with disable_progress_bars():
        network.save_pretrained(folder)


def aim(network: Any, places: Sequence[Place]) -> None:
    """Changes the last layer for boxes, so that the boxes in a grey picture are at the places."""
    network.eval()
    tokens = network.vit(torch.zeros(1, 3, 64, 64)).last_hidden_state[0, -len(places) :]
    *before, last = network.bbox_predictor.layers
    for layer in before:
        tokens = torch.relu(layer(tokens))
    last.bias.zero_()
    last.weight.copy_((torch.linalg.pinv(tokens) @ torch.tensor(places).logit()).T)


def make_resnet() -> RTDetrResNetConfig:
    return RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8, 8, 8],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )


SMALL: dict[str, Any] = {
    "d_model": 16,
    "encoder_hidden_dim": 16,
    "encoder_in_channels": [8, 8, 8],
    "encoder_ffn_dim": 16,
    "encoder_attention_heads": 2,
    "decoder_in_channels": [16, 16, 16],
    "decoder_ffn_dim": 16,
    "decoder_attention_heads": 2,
    "decoder_layers": 2,
    "num_queries": 5,
    "num_denoising": 0,
    "id2label": LABELS,
    "label2id": {name: number for number, name in LABELS.items()},
}


def save_rt_detr(folder: Path, name: str) -> None:
    """Saves a detector of a class of transformers, whose boxes are random. Its confidences are about a half."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        networks: dict[str, Any] = {
            "RTDetrForObjectDetection": lambda: RTDetrForObjectDetection(
                RTDetrConfig(backbone_config=make_resnet(), **SMALL)
            ),
            "RTDetrV2ForObjectDetection": lambda: RTDetrV2ForObjectDetection(
                RTDetrV2Config(backbone_config=make_resnet(), **SMALL)
            ),
            "DFineForObjectDetection": lambda: DFineForObjectDetection(
                DFineConfig(backbone_config=make_resnet(), **SMALL)
            ),
        }
        save(networks[name](), folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"size": {"height": 64, "width": 64}}))
