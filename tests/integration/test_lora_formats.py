"""What the formats of LoRA files add to a weight, and the scale that a file states in PEFT's terms."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor

from imagegen.errors import UnusableModel
from tests.integration.lora_changes import assert_equal, build_pipeline, find_changes, get_weight, random

LINEAR = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
CONVOLUTION = "down_blocks.0.resnets.0.conv1"
NORM = "down_blocks.0.resnets.0.norm1"
ALPHA, SCALE = torch.tensor(3.0), 3.0 / 2
Delta = npt.NDArray[Any]


def sum_over_rank(core: Tensor, first: Tensor, second: Tensor) -> Delta:
    """Returns a Tucker product: `first` is (rank, outputs), `second` (rank, inputs), `core` (rank, rank, ...)."""
    product: Delta = np.einsum("ijhw,ip,jr->prhw", *(to_array(each) for each in (core, first, second)))
    return product


def to_array(tensor: Tensor) -> Delta:
    array: Delta = tensor.double().numpy()
    return array


def low_rank(outputs: int, inputs: int) -> tuple[dict[str, Tensor], Delta]:
    down, up = random(2, inputs), random(outputs, 2)
    return {"lora_down.weight": down, "lora_up.weight": up, "alpha": ALPHA}, SCALE * to_array(up) @ to_array(down)


def convolution(outputs: int, inputs: int) -> tuple[dict[str, Tensor], Delta]:
    down, up = random(2, inputs, 3, 3), random(outputs, 2, 1, 1)
    delta = np.einsum("or,rihw->oihw", to_array(up[:, :, 0, 0]), to_array(down))
    return {"lora_down.weight": down, "lora_up.weight": up, "alpha": ALPHA}, SCALE * delta


def tucker(outputs: int, inputs: int) -> tuple[dict[str, Tensor], Delta]:
    down, middle, up = random(2, inputs, 1, 1), random(2, 2, 3, 3), random(outputs, 2, 1, 1)
    delta = sum_over_rank(middle, up[:, :, 0, 0].T, down[:, :, 0, 0])
    tensors = {"lora_down.weight": down, "lora_mid.weight": middle, "lora_up.weight": up, "alpha": ALPHA}
    return tensors, SCALE * delta


def loha(outputs: int, inputs: int) -> tuple[dict[str, Tensor], Delta]:
    a1, b1, a2, b2 = random(outputs, 2), random(2, inputs), random(outputs, 2) + 1, random(2, inputs) - 1
    tensors = {"hada_w1_a": a1, "hada_w1_b": b1, "hada_w2_a": a2, "hada_w2_b": b2, "alpha": ALPHA}
    return tensors, SCALE * (to_array(a1) @ to_array(b1)) * (to_array(a2) @ to_array(b2))


def loha_tucker(outputs: int, inputs: int) -> tuple[dict[str, Tensor], Delta]:
    a1, b1, t1 = random(2, outputs), random(2, inputs), random(2, 2, 3, 3)
    a2, b2, t2 = a1 + 1, b1 - 1, t1 + 0.5
    tensors = {"hada_w1_a": a1, "hada_w1_b": b1, "hada_t1": t1, "hada_w2_a": a2, "hada_w2_b": b2, "hada_t2": t2}
    return tensors | {"alpha": ALPHA}, SCALE * sum_over_rank(t1, a1, b1) * sum_over_rank(t2, a2, b2)


def lokr(outputs: int, inputs: int) -> tuple[dict[str, Tensor], Delta]:
    first, a, b = random(2, 4), random(outputs // 2, 2), random(2, inputs // 4)
    delta = SCALE * np.kron(to_array(first), to_array(a) @ to_array(b))
    return {"lokr_w1": first, "lokr_w2_a": a, "lokr_w2_b": b, "alpha": ALPHA}, delta


def lokr_of_factors(outputs: int, inputs: int) -> tuple[dict[str, Tensor], Delta]:
    a1, b1, a2, b2 = random(2, 2), random(2, 4), random(outputs // 2, 2), random(2, inputs // 4)
    delta = SCALE * np.kron(to_array(a1) @ to_array(b1), to_array(a2) @ to_array(b2))
    return {"lokr_w1_a": a1, "lokr_w1_b": b1, "lokr_w2_a": a2, "lokr_w2_b": b2, "alpha": ALPHA}, delta


def whole_lokr(outputs: int, inputs: int) -> tuple[dict[str, Tensor], Delta]:
    """Alpha has no effect on two whole matrices: LyCORIS and ai-toolkit write any number."""
    first, second = random(2, 4), random(outputs // 2, inputs // 4)
    tensors = {"lokr_w1": first, "lokr_w2": second, "alpha": torch.tensor(1e10)}
    return tensors, np.kron(to_array(first), to_array(second))


def lokr_convolution(outputs: int, inputs: int) -> tuple[dict[str, Tensor], Delta]:
    first, second = random(2, 4), random(outputs // 2, inputs // 4, 3, 3)
    return {"lokr_w1": first, "lokr_w2": second}, np.kron(to_array(first)[:, :, None, None], to_array(second))


def full(outputs: int, inputs: int) -> tuple[dict[str, Tensor], Delta]:
    return {"diff": random(outputs, inputs)}, to_array(random(outputs, inputs))


@pytest.mark.parametrize(
    ("layer", "build"),
    [
        (LINEAR, low_rank),
        (CONVOLUTION, convolution),
        (CONVOLUTION, tucker),
        (LINEAR, loha),
        (CONVOLUTION, loha_tucker),
        (LINEAR, lokr),
        (LINEAR, lokr_of_factors),
        (LINEAR, whole_lokr),
        (CONVOLUTION, lokr_convolution),
        (LINEAR, full),
    ],
)
def test_a_format_adds_what_lycoris_says(tmp_path: Path, layer: str, build: Any) -> None:
    """The formulas of https://github.com/KohakuBlueleaf/LyCORIS/blob/main/docs/Algo-Details.md."""
    pipeline = build_pipeline("tiny-sd15")
    tensors, delta = build(*get_weight(pipeline, f"unet.{layer}").shape[:2])
    named = {f"lora_unet_{layer.replace('.', '_')}.{role}": tensor for role, tensor in tensors.items()}
    found = find_changes(pipeline, tmp_path, named, weight=0.5)
    assert_equal(found, {f"unet.{layer}.weight": 0.5 * torch.tensor(delta).float()})


@pytest.mark.parametrize("build", [low_rank, loha, lokr])
@pytest.mark.parametrize("per_input", [False, True])
def test_dora_gives_the_rows_or_columns_of_a_weight_their_norms(tmp_path: Path, build: Any, per_input: bool) -> None:
    """At weight 1: W' = m * (W + d) / |W + d|. At another weight, W' - W is multiplied by it."""
    pipeline = build_pipeline("tiny-sd15")
    weight = get_weight(pipeline, f"unet.{LINEAR}").detach().double().numpy()
    tensors, delta = build(*weight.shape)
    magnitude = random(1, weight.shape[1]) if per_input else random(weight.shape[0], 1)
    changed = weight + delta
    norms = np.sqrt((changed**2).sum(axis=0 if per_input else 1, keepdims=True))
    expected = to_array(magnitude) * changed / norms - weight
    named = {f"unet.{LINEAR}.{role}": tensor for role, tensor in (tensors | {"dora_scale": magnitude}).items()}
    found = find_changes(pipeline, tmp_path, named, weight=0.5)
    assert_equal(found, {f"unet.{LINEAR}.weight": 0.5 * torch.tensor(expected).float()})


def test_norms_and_biases_have_differences(tmp_path: Path) -> None:
    pipeline = build_pipeline("tiny-sd15")
    width = len(get_weight(pipeline, f"unet.{NORM}"))
    outputs = len(get_weight(pipeline, f"unet.{CONVOLUTION}"))
    norm, bias, other = random(width), random(width) + 1, random(outputs)
    prefix = "lora_unet_" + NORM.replace(".", "_")
    tensors = {f"{prefix}.w_norm": norm, f"{prefix}.b_norm": bias, f"unet.{CONVOLUTION}.diff_b": other}
    expected = {f"unet.{NORM}.weight": norm, f"unet.{NORM}.bias": bias, f"unet.{CONVOLUTION}.bias": other}
    assert_equal(find_changes(pipeline, tmp_path, tensors), expected)


@pytest.mark.parametrize(("build", "has_magnitude"), [(lokr, False), (loha, False), (full, False), (low_rank, True)])
def test_a_layer_that_is_several_gets_its_rows_in_every_format(tmp_path: Path, build: Any, has_magnitude: bool) -> None:
    pipeline = build_pipeline("tiny-flux-dev")
    names = [f"transformer.transformer_blocks.0.attn.to_{each}" for each in "qkv"]
    weight = torch.cat([get_weight(pipeline, name) for name in names]).detach().double().numpy()
    tensors, delta = build(*weight.shape)
    if has_magnitude:
        tensors |= {"dora_scale": random(len(weight), 1)}
        changed = weight + delta
        norms = np.sqrt((changed**2).sum(axis=1, keepdims=True))
        delta = to_array(tensors["dora_scale"]) * changed / norms - weight
    named = {f"lora_unet_double_blocks_0_img_attn_qkv.{role}": tensor for role, tensor in tensors.items()}
    parts = torch.tensor(delta).float().chunk(3)
    assert_equal(
        find_changes(pipeline, tmp_path, named),
        {f"{name}.weight": part for name, part in zip(names, parts, strict=True)},
    )


def test_norms_of_columns_of_a_layer_that_is_several_are_refused(tmp_path: Path) -> None:
    tensors, _ = low_rank(96, 32)
    tensors |= {"dora_scale": random(1, 32)}
    named = {f"lora_unet_double_blocks_0_img_attn_qkv.{role}": tensor for role, tensor in tensors.items()}
    with pytest.raises(UnusableModel, match="its dora_scale of lora_unet_double_blocks_0_img_attn_qkv is for"):
        find_changes(build_pipeline("tiny-flux-dev"), tmp_path, named)


@pytest.mark.parametrize(
    ("tensors", "problem"),
    [
        ({"lora_A.weight": (2, 32), "lora_B.weight": (32, 3)}, "the shapes of its tensors for transformer.x do not"),
        ({"lora_A.weight": (), "lora_B.weight": (32, 3)}, "the shapes of its tensors for transformer.x do not"),
        (
            {"lora_A.weight": (0, 32), "lora_B.weight": (32, 0), "alpha": ()},
            "the shapes of its tensors for transformer.x do not",
        ),
        (
            {"lora_A.weight": (2, 32), "lora_B.weight": (32, 2), "alpha": (2,)},
            "the shapes of its tensors for transformer.x do not",
        ),
        (
            {"lora_A.weight": (2, 32), "lora_B.weight": (32, 2), "dora_scale": (31, 1)},
            "the shapes of its tensors for transformer.x do not",
        ),
        ({"diff_b": (32,)}, "this model has no transformer.x for it to change"),
    ],
)
def test_shapes_that_do_not_go_together_are_refused(
    tmp_path: Path, tensors: dict[str, tuple[int, ...]], problem: str
) -> None:
    named = {f"transformer.x.{role}": torch.ones(shape) for role, shape in tensors.items()}
    with pytest.raises(UnusableModel, match=re.escape(problem)):
        find_changes(build_pipeline("tiny-flux-dev"), tmp_path, named)


PEFT_CONFIGS: dict[str, dict[str, Any]] = {
    "alpha": {"lora_alpha": 12},
    "rslora": {"lora_alpha": 12, "use_rslora": True},
    "default alpha": {},
    "end of a name": {"alpha_pattern": {"attn.to_q": 1, "to_k": 20}, "rank_pattern": {"to_k": 3}},
    "regular expression": {
        "alpha_pattern": {r"transformer_blocks\.1\..*to_[qk]": 30},
        "rank_pattern": {r".*\.1\.attn\.to_q": 5},
        "use_rslora": True,
    },
    "dora": {"use_dora": True, "lora_alpha": 6},
    "bias": {"lora_bias": True, "lora_alpha": 6},
    "initial values": {"init_lora_weights": "gaussian"},
}


@pytest.mark.parametrize("place", ["metadata", "file"])
@pytest.mark.parametrize("fields", list(PEFT_CONFIGS.values()), ids=list(PEFT_CONFIGS))
def test_a_lora_has_the_scale_that_peft_gives_it(tmp_path: Path, fields: dict[str, Any], place: str) -> None:
    """The right value is PEFT's own: it merges the same adapter into the same network."""
    pipeline = build_pipeline("tiny-flux-dev")
    config = LoraConfig(r=4, target_modules=["to_q", "to_k"], **fields)
    network: Any = get_peft_model(deepcopy(pipeline.transformer), config)
    with torch.no_grad():
        for number, (name, parameter) in enumerate(network.named_parameters()):
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
    state = network.state_dict()
    tensors = {name.replace(".default", ""): tensor.clone() for name, tensor in state.items() if "lora_" in name}
    merged = dict(network.merge_and_unload().named_parameters())
    expected = {
        f"transformer.{name}": merged[name].detach() - old.detach()
        for name, old in pipeline.transformer.named_parameters()
        if not torch.equal(merged[name], old)
    }
    written = {name: sorted(value) if isinstance(value, set) else value for name, value in config.to_dict().items()}
    if place == "file":
        found = find_changes(pipeline, tmp_path, tensors, peft_config=written)
    else:
        by_component = {f"transformer.{name}": value for name, value in written.items()}
        tensors = {f"transformer.{name.removeprefix('base_model.model.')}": each for name, each in tensors.items()}
        found = find_changes(pipeline, tmp_path, tensors, {"lora_adapter_metadata": json.dumps(by_component)})
    assert expected
    assert_equal(found, expected)


def test_the_statements_of_a_component_are_for_its_layers_alone(tmp_path: Path) -> None:
    pipeline = build_pipeline("tiny-flux-dev")
    layers = {"transformer.proj_out": (64, 32), "text_encoder.encoder.layers.0.mlp.fc1": (32, 24)}
    tensors, expected = dict[str, Tensor](), dict[str, Tensor]()
    for layer, scale in zip(layers, (5.0, 0.25), strict=True):
        outputs, inputs = layers[layer]
        down, up = random(4, inputs), random(outputs, 4)
        tensors |= {f"{layer}.lora_A.weight": down, f"{layer}.lora_B.weight": up}
        expected[f"{layer}.weight"] = scale * up @ down
    statements = {"transformer.r": 4, "transformer.lora_alpha": 20, "text_encoder.r": 4, "text_encoder.lora_alpha": 1}
    assert_equal(find_changes(pipeline, tmp_path, tensors, {"lora_adapter_metadata": json.dumps(statements)}), expected)


def test_two_statements_of_one_scale_must_agree(tmp_path: Path) -> None:
    down, up = random(4, 32), random(64, 4)
    tensors = {"transformer.proj_out.lora_A.weight": down, "transformer.proj_out.lora_B.weight": up}
    metadata = {"lora_adapter_metadata": json.dumps({"transformer.r": 4, "transformer.lora_alpha": 8})}
    same = tensors | {"transformer.proj_out.alpha": torch.tensor(8.0)}
    found = find_changes(build_pipeline("tiny-flux-dev"), tmp_path, same, metadata)
    assert_equal(found, {"transformer.proj_out.weight": 2 * up @ down})
    other = tensors | {"transformer.proj_out.alpha": torch.tensor(4.0)}
    with pytest.raises(UnusableModel, match="lora_adapter_metadata and transformer.proj_out.alpha say different"):
        find_changes(build_pipeline("tiny-flux-dev"), tmp_path, other, metadata)
