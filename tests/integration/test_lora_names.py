"""Each name that trainers give to a layer is that layer, in every family, and a name of no layer is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from imagegen.engine.adapters.layer_names import LayerNames
from imagegen.errors import UnusableModel
from tests.hub.single_file import unet_name
from tests.hub.tiny import TINY
from tests.integration.lora_changes import RANK, assert_equal, build_pipeline, find_changes, get_weight, random

FLUX_BLOCK = "transformer.transformer_blocks.1"
FLUX_SINGLE = "transformer.single_transformer_blocks.1"
IMAGE = [f"{FLUX_BLOCK}.attn.to_{each}" for each in "qkv"]
TEXT = [f"{FLUX_BLOCK}.attn.add_{each}_proj" for each in "qkv"]
CLIP_LAYER = "encoder.layers.0.self_attn.q_proj"

# A name in a file, and the layers of the model that it stands for. The rows of the file are theirs, in this order.
NAMES: dict[str, list[tuple[str, list[str]]]] = {
    "tiny-flux-dev": [
        ("diffusion_model.double_blocks.1.img_attn.qkv", IMAGE),
        ("double_blocks.1.txt_attn.qkv", TEXT),
        ("lora_unet_double_blocks_1_img_attn_proj", [f"{FLUX_BLOCK}.attn.to_out.0"]),
        ("base_model.model.double_blocks.1.txt_attn.proj", [f"{FLUX_BLOCK}.attn.to_add_out"]),
        ("lora_unet_double_blocks_1_img_mlp_0", [f"{FLUX_BLOCK}.ff.net.0.proj"]),
        ("lora_unet_double_blocks_1_txt_mlp_2", [f"{FLUX_BLOCK}.ff_context.net.2"]),
        ("lora_unet_double_blocks_1_img_mod_lin", [f"{FLUX_BLOCK}.norm1.linear"]),
        ("lora_unet_double_blocks_1_txt_mod_lin", [f"{FLUX_BLOCK}.norm1_context.linear"]),
        (
            "base_model.model.single_blocks.1.linear1",
            [*(f"{FLUX_SINGLE}.attn.to_{each}" for each in "qkv"), f"{FLUX_SINGLE}.proj_mlp"],
        ),
        ("lora_unet_single_blocks_1_linear2", [f"{FLUX_SINGLE}.proj_out"]),
        ("lora_unet_single_blocks_1_modulation_lin", [f"{FLUX_SINGLE}.norm.linear"]),
        ("lora_unet_img_in", ["transformer.x_embedder"]),
        ("lora_unet_txt_in", ["transformer.context_embedder"]),
        ("lora_unet_time_in_in_layer", ["transformer.time_text_embed.timestep_embedder.linear_1"]),
        ("lora_unet_vector_in_out_layer", ["transformer.time_text_embed.text_embedder.linear_2"]),
        ("lora_unet_guidance_in_in_layer", ["transformer.time_text_embed.guidance_embedder.linear_1"]),
        ("lora_unet_final_layer_linear", ["transformer.proj_out"]),
        ("double_blocks.1.processor.qkv_lora1", IMAGE),
        ("double_blocks.1.processor.proj_lora2", [f"{FLUX_BLOCK}.attn.to_add_out"]),
        ("transformer.transformer_blocks.1.attn.to_q", IMAGE[:1]),
        ("transformer_blocks.1.attn.to_q", IMAGE[:1]),
        ("base_model.model.transformer_blocks.1.attn.to_q", IMAGE[:1]),
        ("base_model.model.transformer.transformer_blocks.1.attn.to_q", IMAGE[:1]),
        ("diffusion_model.transformer_blocks.1.attn.to_q", IMAGE[:1]),
        ("lycoris_transformer_blocks_1_attn_to_q", IMAGE[:1]),
        ("lora_transformer_transformer_blocks_1_norm1_context_linear", [f"{FLUX_BLOCK}.norm1_context.linear"]),
        ("lora_transformer_norm_out_linear", ["transformer.norm_out.linear"]),
        ("lora_transformer.transformer_blocks.1.attn.to_k", IMAGE[1:2]),
        ("transformer.double_blocks.1.txt_attn.qkv.2", TEXT[2:]),
        ("transformer.single_blocks.1.linear1.3", [f"{FLUX_SINGLE}.proj_mlp"]),
        ("transformer.img_in.proj", ["transformer.x_embedder"]),
        (f"clip_l.text_model.{CLIP_LAYER}", [f"text_encoder.{CLIP_LAYER}"]),
        (f"lora_te1.text_model.{CLIP_LAYER}", [f"text_encoder.{CLIP_LAYER}"]),
        (
            "t5.encoder.block.0.layer.1.DenseReluDense.wi_1",
            ["text_encoder_2.encoder.block.0.layer.1.DenseReluDense.wi_1"],
        ),
        ("lora_te_text_model_encoder_layers_0_self_attn_q_proj", [f"text_encoder.{CLIP_LAYER}"]),
        ("lora_te1_text_model_encoder_layers_0_self_attn_q_proj", [f"text_encoder.{CLIP_LAYER}"]),
        (f"text_encoders.clip_l.transformer.text_model.{CLIP_LAYER}", [f"text_encoder.{CLIP_LAYER}"]),
        (
            "lora_te2_encoder_block_0_layer_0_SelfAttention_q",
            ["text_encoder_2.encoder.block.0.layer.0.SelfAttention.q"],
        ),
        (
            "lora_te3_encoder_block_1_layer_1_DenseReluDense_wo",
            ["text_encoder_2.encoder.block.1.layer.1.DenseReluDense.wo"],
        ),
        (
            "text_encoders.t5xxl.transformer.encoder.block.0.layer.0.SelfAttention.k",
            ["text_encoder_2.encoder.block.0.layer.0.SelfAttention.k"],
        ),
    ],
    "tiny-flux2-klein": [
        ("diffusion_model.double_blocks.1.img_attn.qkv", IMAGE),
        ("lora_unet_double_blocks_1_txt_mlp_0", [f"{FLUX_BLOCK}.ff_context.linear_in"]),
        ("diffusion_model.single_blocks.1.linear1", [f"{FLUX_SINGLE}.attn.to_qkv_mlp_proj"]),
        ("lora_unet_single_blocks_1_linear2", [f"{FLUX_SINGLE}.attn.to_out"]),
        ("double_stream_modulation_img.lin", ["transformer.double_stream_modulation_img.linear"]),
        ("time_in.in_layer", ["transformer.time_guidance_embed.timestep_embedder.linear_1"]),
        ("transformer.single_transformer_blocks.1.attn.to_out", [f"{FLUX_SINGLE}.attn.to_out"]),
    ],
    "tiny-sd3": [
        ("lora_unet_joint_blocks_1_x_block_attn_qkv", IMAGE),
        ("diffusion_model.joint_blocks.1.context_block.attn.qkv", TEXT),
        ("lora_unet_joint_blocks_1_x_block_mlp_fc1", [f"{FLUX_BLOCK}.ff.net.0.proj"]),
        (
            "lora_unet_joint_blocks_0_context_block_adaLN_modulation_1",
            ["transformer.transformer_blocks.0.norm1_context.linear"],
        ),
        ("lora_unet_y_embedder_mlp_0", ["transformer.time_text_embed.text_embedder.linear_1"]),
        ("transformer.transformer_blocks.1.attn.add_q_proj", TEXT[:1]),
        ("lora_te2_text_model_encoder_layers_1_mlp_fc1", ["text_encoder_2.text_model.encoder.layers.1.mlp.fc1"]),
        ("lora_te2_text_projection", ["text_encoder_2.text_projection"]),
        ("clip_g.text_projection", ["text_encoder_2.text_projection"]),
        (
            "lora_te3_encoder_block_0_layer_0_SelfAttention_o",
            ["text_encoder_3.encoder.block.0.layer.0.SelfAttention.o"],
        ),
    ],
    "tiny-z-image": [
        (
            "diffusion_model.layers.1.attention.qkv",
            [f"transformer.layers.1.attention.to_{each}" for each in "qkv"],
        ),
        ("lora_unet_layers_1_attention_out", ["transformer.layers.1.attention.to_out.0"]),
        ("lora_unet_layers_1_attention_to_q", ["transformer.layers.1.attention.to_q"]),
        ("lora_unet_noise_refiner_0_feed_forward_w2", ["transformer.noise_refiner.0.feed_forward.w2"]),
        ("diffusion_model.layers.0.adaLN_modulation.0", ["transformer.layers.0.adaLN_modulation.0"]),
        ("x_embedder", ["transformer.all_x_embedder.2-1"]),
        ("final_layer.adaLN_modulation.1", ["transformer.all_final_layer.2-1.adaLN_modulation.1"]),
    ],
    "tiny-qwen-image": [
        ("lora_unet_transformer_blocks_1_img_mlp_net_0_proj", [f"{FLUX_BLOCK}.img_mlp.net.0.proj"]),
        ("diffusion_model.transformer_blocks.1.img_mod.1", [f"{FLUX_BLOCK}.img_mod.1"]),
        ("transformer_blocks.1.attn.add_v_proj", [f"{FLUX_BLOCK}.attn.add_v_proj"]),
    ],
    "tiny-sana": [("lora_transformer_transformer_blocks_1_attn2_to_k", [f"{FLUX_BLOCK}.attn2.to_k"])],
    "tiny-sd15": [
        (
            "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora",
            ["unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"],
        ),
        (
            "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.processor.to_out_lora",
            ["unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_out.0"],
        ),
        ("text_encoder.text_model.encoder.layers.0.self_attn.to_q_lora", [f"text_encoder.{CLIP_LAYER}"]),
        ("lora_unet_down_blocks_0_attentions_0_proj_in", ["unet.down_blocks.0.attentions.0.proj_in"]),
    ],
}
# Their rows are the shift and then the scale; diffusers has the scale first.
SWAPPED = [
    ("tiny-flux-dev", "lora_unet_final_layer_adaLN_modulation_1", "transformer.norm_out.linear"),
    ("tiny-flux2-klein", "diffusion_model.final_layer.adaLN_modulation.1", "transformer.norm_out.linear"),
    ("tiny-sd3", "lora_unet_final_layer_adaLN_modulation_1", "transformer.norm_out.linear"),
    (
        "tiny-sd3",
        "diffusion_model.joint_blocks.1.context_block.adaLN_modulation.1",
        "transformer.transformer_blocks.1.norm1_context.linear",
    ),
]


def build_lora(layer: str, outputs: int, inputs: tuple[int, ...]) -> tuple[dict[str, Tensor], Tensor]:
    """Returns the tensors of a layer in the format of the tool that names it so, and what they add to its weight."""
    down, up = random(RANK, *inputs), random(outputs, RANK, *(1 for _ in inputs[1:]))
    delta = (up.flatten(1) @ down.flatten(1)).view(outputs, *inputs)
    if layer.endswith("_lora") or "processor" in layer:
        return {f"{layer}.down.weight": down, f"{layer}.up.weight": up}, delta
    if layer.startswith(("lora_", "lycoris_")):
        tensors = {f"{layer}.lora_down.weight": down, f"{layer}.lora_up.weight": up}
        return tensors | {f"{layer}.alpha": torch.tensor(1.0)}, delta / RANK
    return {f"{layer}.lora_A.weight": down, f"{layer}.lora_B.weight": up}, delta


@pytest.mark.parametrize(
    ("model", "layer", "names"), [(model, layer, names) for model, rows in NAMES.items() for layer, names in rows]
)
def test_a_name_is_a_layer(tmp_path: Path, model: str, layer: str, names: list[str]) -> None:
    pipeline = build_pipeline(model)
    weights = [get_weight(pipeline, name) for name in names]
    tensors, delta = build_lora(layer, sum(map(len, weights)), tuple(weights[0].shape[1:]))
    parts = delta.split([len(weight) for weight in weights])
    found = find_changes(pipeline, tmp_path, tensors)
    assert_equal(found, {f"{name}.weight": part for name, part in zip(names, parts, strict=True)})


@pytest.mark.parametrize(("model", "layer", "name"), SWAPPED)
def test_scale_and_shift_change_places(tmp_path: Path, model: str, layer: str, name: str) -> None:
    """diffusers' `swap_scale_shift` does so with the weights of a checkpoint."""
    pipeline = build_pipeline(model)
    rows, columns = get_weight(pipeline, name).shape
    tensors, delta = build_lora(layer, rows, (columns,))
    shift, scale = delta.chunk(2)
    assert_equal(find_changes(pipeline, tmp_path, tensors), {f"{name}.weight": torch.cat([scale, shift])})


@pytest.mark.parametrize("prefix", ["lora_unet_", "diffusion_model."])
def test_the_original_names_of_a_unet_are_those_of_its_checkpoint(tmp_path: Path, prefix: str) -> None:
    """All layers of SDXL at once: the numbers of its blocks are others than diffusers'."""
    pipeline = build_pipeline("tiny-sdxl")
    names = dict(pipeline.unet.named_parameters())
    tensors, expected = dict[str, Tensor](), dict[str, Tensor]()
    for name, module in pipeline.unet.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            original = unet_name(f"{name}.weight", names).removesuffix(".weight")
            layer = prefix + (original.replace(".", "_") if prefix.endswith("_") else original)
            outputs, *inputs = module.weight.shape
            layer_tensors, delta = build_lora(layer, outputs, tuple(inputs))
            tensors |= layer_tensors
            expected[f"unet.{name}.weight"] = delta
    assert_equal(find_changes(pipeline, tmp_path, tensors), expected)


@pytest.mark.parametrize("model", list(TINY))
def test_no_two_layers_have_one_name(model: str) -> None:
    """With underscores in place of dots, two names could be the same."""
    pipeline = build_pipeline(model)
    denoiser: Any = getattr(pipeline, "unet", None) or pipeline.transformer
    names = LayerNames(pipeline)
    for name, module in denoiser.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            parts = names.find("lora_unet_" + name.replace(".", "_"))
            assert parts is not None
            assert [part.module for part in parts] == [module]


@pytest.mark.parametrize(
    ("model", "layer"),
    [
        ("tiny-flux-dev", "lora_xx9_double_blocks_0_img_attn_proj"),
        ("tiny-flux-dev", "lora_te3_encoder_block_99_layer_0_SelfAttention_q"),
        ("tiny-flux-dev", "lora_unet_double_blocks_7_img_attn_proj"),
        ("tiny-flux-dev", "text_encoder_3.encoder.block.0.layer.0.SelfAttention.q"),
        ("tiny-flux-schnell", "lora_unet_guidance_in_in_layer"),
        ("tiny-flux2-klein", "lora_unet_double_blocks_0_img_mod_lin"),
        ("tiny-sd3", "lora_unet_joint_blocks_1_context_block_attn_proj"),
        ("tiny-z-image", "diffusion_model.layers.7.attention.qkv"),
        ("tiny-qwen-image", "lora_unet_single_transformer_blocks_0_attn_to_q"),
        ("tiny-sdxl", "lora_unet_input_blocks_99_1_proj_in"),
        ("tiny-sd15", "lora_te2_text_model_encoder_layers_0_mlp_fc1"),
    ],
)
def test_a_layer_that_a_model_does_not_have_is_refused_by_its_name(tmp_path: Path, model: str, layer: str) -> None:
    tensors, _ = build_lora(layer, 32, (32,))
    with pytest.raises(UnusableModel, match=f"loras: it cannot be used: this model has no {layer} for it to change"):
        find_changes(build_pipeline(model), tmp_path, tensors)


def test_factors_of_zero_change_nothing_whatever_they_are_for(tmp_path: Path) -> None:
    """Trainers save layers that they did not train, and that some models do not have."""
    tensors, delta = build_lora("transformer.proj_out", 4 * 16, (32,))
    unknown, _ = build_lora("text_encoder_3.encoder.block.0.layer.0.SelfAttention.q", 8, (8,))
    zero = {name: torch.zeros_like(tensor) if "lora_B" in name else tensor for name, tensor in unknown.items()}
    found = find_changes(build_pipeline("tiny-flux-dev"), tmp_path, tensors | zero)
    assert_equal(found, {"transformer.proj_out.weight": delta})


def test_a_layer_that_a_file_has_twice_is_refused(tmp_path: Path) -> None:
    fused, _ = build_lora("diffusion_model.double_blocks.0.img_attn.qkv", 3 * 32, (32,))
    single, _ = build_lora("transformer.transformer_blocks.0.attn.to_k", 32, (32,))
    with pytest.raises(UnusableModel, match=r"it changes transformer\.transformer_blocks\.0\.attn\.to_k twice"):
        find_changes(build_pipeline("tiny-flux-dev"), tmp_path, fused | single)
