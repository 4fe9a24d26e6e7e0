"""Architectures of adapters and models, detected by shapes, names and metadata."""

from pathlib import Path

import pytest

from imagegen.library.architectures import (
    detect_embedding_architecture,
    detect_folder_architecture,
    detect_lora_architecture,
)
from imagegen.library.weight_files import SafetensorsHeader
from imagegen.schema.models import UNKNOWN_ARCHITECTURE
from imagegen.settings import ASSETS_DIR
from tests.unit.model_files import ATTENTION, write_transformer_model, write_unet_model

KOHYA = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight"
TEXT = "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight"


def lora(*names: str, metadata: dict[str, str] | None = None, width: int = 1536) -> SafetensorsHeader:
    return SafetensorsHeader(dict.fromkeys(names, (4, width)), metadata or {})


@pytest.mark.parametrize(
    ("width", "architecture"),
    [
        (768, "Stable Diffusion 1"),
        (1024, "Stable Diffusion 2"),
        (2048, "Stable Diffusion XL"),
        (128, "Stable Diffusion of width 128"),
    ],
)
@pytest.mark.parametrize(
    "name",
    [
        f"unet.{ATTENTION}.lora_A.weight",
        f"unet.{ATTENTION}.lora_A.default.weight",
        f"unet.{ATTENTION}.lora.down.weight",
        f"base_model.model.unet.{ATTENTION}.lora_A.weight",
        f"unet.{ATTENTION.replace('attn2.to_k', 'attn2.processor.to_k_lora')}.down.weight",
        KOHYA,
        "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k.lora_down.weight",
    ],
)
def test_a_lora_for_a_unet_is_recognised_by_the_width_of_the_text(name: str, width: int, architecture: str) -> None:
    others = {TEXT: (4, 768), f"unet.{ATTENTION.replace('attn2', 'attn1')}.lora_A.weight": (4, 320)}
    assert detect_lora_architecture(SafetensorsHeader({**others, name: (4, width)}, {})) == architecture


def test_shapes_are_believed_before_the_author() -> None:
    metadata = {"ss_base_model_version": "sdxl_base_v1-0", "modelspec.architecture": "flux-1-dev/lora"}
    assert detect_lora_architecture(SafetensorsHeader({KOHYA: (4, 768)}, metadata)) == "Stable Diffusion 1"


@pytest.mark.parametrize(
    ("names", "architecture"),
    [
        (["transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight"], "FLUX.1"),
        (["lora_unet_double_blocks_0_img_attn_proj.lora_down.weight"], "FLUX.1"),
        (["lora_unet_single_blocks_0_linear1.lora_down.weight"], "FLUX.1"),
        (["diffusion_model.double_blocks.0.img_attn.proj.lora_A.weight"], "FLUX.1"),
        (["transformer.single_transformer_blocks.0.attn.to_qkv_mlp_proj.lora_A.weight"], "FLUX.2 klein"),
        (
            [
                "transformer.transformer_blocks.0.attn.add_q_proj.lora_A.weight",
                "transformer.transformer_blocks.0.img_mlp.net.2.lora_A.weight",
            ],
            "Qwen-Image",
        ),
        (["lora_unet_transformer_blocks_0_img_mod_1.lora_down.weight"], "Qwen-Image"),
        (["transformer.layers.0.attention.to_q.lora_A.weight"], "Z-Image"),
        (["diffusion_model.layers.0.attention.qkv.lora_A.weight"], "Z-Image"),
        (["lora_unet_layers_0_attention_to_q.lora_down.weight"], "Z-Image"),
        (["transformer.transformer_blocks.0.attn.add_q_proj.lora_A.weight"], "Stable Diffusion 3"),
        (["transformer.transformer_blocks.0.attn2.to_q.lora_A.weight"], "Sana"),
        (["lora_unet_double_blocks_0_img_mlp_0.lora_down.weight"], "FLUX.1"),
        (["double_blocks.0.processor.qkv_lora1.down.weight"], "FLUX.1"),
        (["layers.0.attention.to_q.lora_A.weight"], "Z-Image"),
        (["lora_unet_joint_blocks_0_x_block_attn_qkv.lora_down.weight"], "Stable Diffusion 3"),
        (
            [
                "transformer.transformer_blocks.0.attn2.to_q.lora_A.weight",
                "transformer.transformer_blocks.0.attn.add_q_proj.lora_A.weight",
            ],
            "Stable Diffusion 3",
        ),
    ],
)
def test_a_lora_for_a_transformer_is_recognised_by_its_tensor_names(names: list[str], architecture: str) -> None:
    assert detect_lora_architecture(lora(*names)) == architecture


@pytest.mark.parametrize(
    ("pipeline", "architecture"),
    [
        ("FluxKontextPipeline", "FLUX.1"),
        ("QwenImageEditPipeline", "Qwen-Image"),
        ("QwenImageEditPlusPipeline", "Qwen-Image"),
        ("Flux2KleinPipeline", "FLUX.2 klein"),
    ],
)
def test_a_model_that_edits_takes_the_loras_of_its_family(tmp_path: Path, pipeline: str, architecture: str) -> None:
    assert detect_folder_architecture(pipeline, tmp_path) == architecture


@pytest.mark.parametrize(
    ("width", "architecture"),
    [(1536, "Stable Diffusion 3"), (2432, "Stable Diffusion 3"), (3072, UNKNOWN_ARCHITECTURE)],
)
def test_names_of_several_transformers_need_the_width(width: int, architecture: str) -> None:
    """Qwen-Image and FLUX have joint attention as well."""
    names = [f"transformer.transformer_blocks.0.attn.{layer}.lora_A.weight" for layer in ("to_q", "add_q_proj")]
    assert detect_lora_architecture(lora(*names, width=width)) == architecture


@pytest.mark.parametrize("text", [TEXT, "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight"])
def test_layers_of_a_text_encoder_identify_no_architecture(text: str) -> None:
    """A LoRA of any architecture may have layers for the text encoder."""
    sd3 = "transformer.transformer_blocks.0.attn.add_q_proj.lora_A.weight"
    assert detect_lora_architecture(lora(text, sd3)) == "Stable Diffusion 3"
    assert detect_lora_architecture(lora(text, metadata={"ss_base_model_version": "sd_v1"})) == "Stable Diffusion 1"
    assert detect_lora_architecture(lora(text, "transformer.layers.0.attention.to_q.lora_A.weight")) == "Z-Image"


@pytest.mark.parametrize(
    ("metadata", "architecture"),
    [
        ({"modelspec.architecture": "stable-diffusion-v1/lora"}, "Stable Diffusion 1"),
        ({"modelspec.architecture": "stable-diffusion-v2-768-v/lora"}, "Stable Diffusion 2"),
        ({"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}, "Stable Diffusion XL"),
        ({"modelspec.architecture": "stable-diffusion-3-medium/lora"}, "Stable Diffusion 3"),
        ({"modelspec.architecture": "flux-1-dev/lora"}, "FLUX.1"),
        ({"ss_base_model_version": "sdxl_base_v1-0"}, "Stable Diffusion XL"),
        ({"ss_base_model_version": "sd_v1"}, "Stable Diffusion 1"),
        ({"ss_base_model_version": "sd_v2_768_v"}, "Stable Diffusion 2"),
        ({"ss_base_model_version": "flux1"}, "FLUX.1"),
        ({"ss_base_model_version": "zimage"}, "Z-Image"),
        ({"ss_base_model_version": "a model of my own"}, UNKNOWN_ARCHITECTURE),
        ({}, UNKNOWN_ARCHITECTURE),
    ],
)
def test_metadata_decides_where_names_do_not(metadata: dict[str, str], architecture: str) -> None:
    assert detect_lora_architecture(lora("unet.conv_out.lora_A.weight", metadata=metadata)) == architecture


@pytest.mark.parametrize("shape", [(), (4,), (4, 768, 1, 1)])
def test_a_lora_of_odd_shapes_is_no_accident(shape: tuple[int, ...]) -> None:
    assert isinstance(detect_lora_architecture(SafetensorsHeader({KOHYA: shape}, {})), str)


@pytest.mark.parametrize(
    ("shapes", "architecture"),
    [
        ({"emb_params": (4, 768)}, "Stable Diffusion 1"),
        ({"<cat>": (768,)}, "Stable Diffusion 1"),
        ({"emb_params": (1, 1024)}, "Stable Diffusion 2"),
        ({"clip_l": (2, 768), "clip_g": (2, 1280)}, "Stable Diffusion XL"),
        ({"emb_params": (2, 128)}, "Stable Diffusion of width 128"),
        ({"one": (2, 768), "two": (2, 768)}, UNKNOWN_ARCHITECTURE),
    ],
)
def test_an_embedding_is_recognised_by_the_width_of_its_vectors(
    shapes: dict[str, tuple[int, ...]], architecture: str
) -> None:
    assert detect_embedding_architecture(SafetensorsHeader(shapes, {})) == architecture


@pytest.mark.parametrize("width", [768, 1024, 2048, 128])
def test_a_lora_and_the_model_that_it_fits_have_the_same_architecture(tmp_path: Path, width: int) -> None:
    folder = write_unet_model(tmp_path, width)
    assert detect_folder_architecture("StableDiffusionPipeline", folder) == detect_lora_architecture(
        SafetensorsHeader({KOHYA: (4, width)}, {})
    )


@pytest.mark.parametrize(
    ("pipeline", "name"),
    [
        ("FluxPipeline", "transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight"),
        ("Flux2KleinPipeline", "transformer.single_transformer_blocks.0.attn.to_qkv_mlp_proj.lora_A.weight"),
        ("QwenImagePipeline", "transformer.transformer_blocks.0.img_mlp.net.2.lora_A.weight"),
        ("ZImagePipeline", "transformer.layers.0.attention.to_q.lora_A.weight"),
        ("StableDiffusion3Pipeline", "transformer.transformer_blocks.0.attn.add_q_proj.lora_A.weight"),
        ("SanaPipeline", "transformer.transformer_blocks.0.attn2.to_q.lora_A.weight"),
    ],
)
def test_so_it_is_with_transformers(tmp_path: Path, pipeline: str, name: str) -> None:
    assert detect_folder_architecture(
        pipeline, write_transformer_model(tmp_path, pipeline)
    ) == detect_lora_architecture(lora(name))


def test_the_embedded_model_has_an_architecture_of_its_own() -> None:
    """A LoRA for another Stable Diffusion would not fit."""
    folder = ASSETS_DIR / "models" / "embedded"
    assert detect_folder_architecture("StableDiffusionPipeline", folder) == "Stable Diffusion of width 128"


@pytest.mark.parametrize(
    ("layer", "flux1", "flux2"),
    [
        ("double_blocks.0.img_mlp.0", (4 * 3072, 3072), (6 * 3072, 3072)),
        ("double_blocks.0.txt_mlp.2", (3072, 4 * 3072), (3072, 3 * 3072)),
        ("single_blocks.0.linear1", (7 * 3072, 3072), (9 * 3072, 3072)),
        ("single_blocks.0.linear2", (3072, 5 * 3072), (3072, 4 * 3072)),
    ],
)
@pytest.mark.parametrize("tool", ["kohya", "ai-toolkit"])
def test_flux_1_and_2_differ_in_the_shapes_of_layers_with_the_same_names(
    layer: str, flux1: tuple[int, int], flux2: tuple[int, int], tool: str
) -> None:
    def detect(outputs: int, inputs: int) -> str:
        names = {
            "kohya": (f"lora_unet_{layer.replace('.', '_')}.lora_down.weight", ".lora_up.weight"),
            "ai-toolkit": (f"diffusion_model.{layer}.lora_A.weight", ".lora_B.weight"),
        }
        down, end = names[tool]
        up = down.rsplit(".lora_", 1)[0] + end
        return detect_lora_architecture(SafetensorsHeader({down: (4, inputs), up: (outputs, 4)}, {}))

    assert (detect(*flux1), detect(*flux2)) == ("FLUX.1", "FLUX.2 klein")


def test_metadata_tell_flux_2_from_1_where_shapes_do_not() -> None:
    names = "diffusion_model.double_blocks.0.img_attn.qkv.lora_A.weight"
    assert detect_lora_architecture(lora(names, metadata={"ss_base_model_version": "flux2_klein_4b"})) == "FLUX.2 klein"
    assert detect_lora_architecture(lora(names, metadata={"ss_base_model_version": "flux1"})) == "FLUX.1"
