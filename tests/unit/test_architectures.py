"""What an adapter was made for, and what a model is: told by shapes, by names, and by what the author wrote."""

from pathlib import Path

import pytest

from imagegen.library.architectures import UNKNOWN, of_embedding, of_folder, of_lora
from imagegen.library.weights import Head
from imagegen.settings import ASSETS
from tests.unit.folders import ATTENTION, transformer_model, unet_model

KOHYA = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight"
TEXT = "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight"


def lora(*names: str, metadata: dict[str, str] | None = None, width: int = 1536) -> Head:
    return Head(dict.fromkeys(names, (4, width)), metadata or {})


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
def test_a_lora_for_a_unet_is_told_by_the_width_of_the_text(name: str, width: int, architecture: str) -> None:
    others = {TEXT: (4, 768), f"unet.{ATTENTION.replace('attn2', 'attn1')}.lora_A.weight": (4, 320)}
    assert of_lora(Head({**others, name: (4, width)}, {})) == architecture


def test_shapes_are_believed_before_the_author() -> None:
    said = {"ss_base_model_version": "sdxl_base_v1-0", "modelspec.architecture": "flux-1-dev/lora"}
    assert of_lora(Head({KOHYA: (4, 768)}, said)) == "Stable Diffusion 1"


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
    ],
)
def test_a_lora_for_a_transformer_is_told_by_its_names(names: list[str], architecture: str) -> None:
    assert of_lora(lora(*names)) == architecture


@pytest.mark.parametrize(
    ("width", "architecture"), [(1536, "Stable Diffusion 3"), (2432, "Stable Diffusion 3"), (3072, UNKNOWN)]
)
def test_names_that_several_transformers_have_say_nothing_without_the_width(width: int, architecture: str) -> None:
    """Qwen-Image and FLUX attend to text and picture at once as well."""
    names = [f"transformer.transformer_blocks.0.attn.{layer}.lora_A.weight" for layer in ("to_q", "add_q_proj")]
    assert of_lora(lora(*names, width=width)) == architecture


@pytest.mark.parametrize("text", [TEXT, "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight"])
def test_layers_of_a_text_encoder_are_nobodys_mark(text: str) -> None:
    """Every LoRA may change the text encoder as well."""
    sd3 = "transformer.transformer_blocks.0.attn.add_q_proj.lora_A.weight"
    assert of_lora(lora(text, sd3)) == "Stable Diffusion 3"
    assert of_lora(lora(text, metadata={"ss_base_model_version": "sd_v1"})) == "Stable Diffusion 1"
    assert of_lora(lora(text, "transformer.layers.0.attention.to_q.lora_A.weight")) == "Z-Image"


@pytest.mark.parametrize(
    ("said", "architecture"),
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
        ({"ss_base_model_version": "a model of my own"}, UNKNOWN),
        ({}, UNKNOWN),
    ],
)
def test_where_names_say_nothing_the_author_may(said: dict[str, str], architecture: str) -> None:
    assert of_lora(lora("unet.conv_out.lora_A.weight", metadata=said)) == architecture


@pytest.mark.parametrize("shape", [(), (4,), (4, 768, 1, 1)])
def test_a_lora_of_odd_shapes_is_no_accident(shape: tuple[int, ...]) -> None:
    assert isinstance(of_lora(Head({KOHYA: shape}, {})), str)


@pytest.mark.parametrize(
    ("shapes", "architecture"),
    [
        ({"emb_params": (4, 768)}, "Stable Diffusion 1"),
        ({"<cat>": (768,)}, "Stable Diffusion 1"),
        ({"emb_params": (1, 1024)}, "Stable Diffusion 2"),
        ({"clip_l": (2, 768), "clip_g": (2, 1280)}, "Stable Diffusion XL"),
        ({"emb_params": (2, 128)}, "Stable Diffusion of width 128"),
        ({"one": (2, 768), "two": (2, 768)}, UNKNOWN),
    ],
)
def test_an_embedding_is_told_by_the_width_of_its_vectors(
    shapes: dict[str, tuple[int, ...]], architecture: str
) -> None:
    assert of_embedding(Head(shapes, {})) == architecture


@pytest.mark.parametrize("width", [768, 1024, 2048, 128])
def test_a_lora_and_the_model_that_it_fits_are_told_in_the_same_words(tmp_path: Path, width: int) -> None:
    folder = unet_model(tmp_path, width)
    assert of_folder("StableDiffusionPipeline", folder) == of_lora(Head({KOHYA: (4, width)}, {}))


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
    assert of_folder(pipeline, transformer_model(tmp_path, pipeline)) == of_lora(lora(name))


def test_the_embedded_model_has_an_architecture_of_its_own() -> None:
    """No LoRA for another Stable Diffusion would fit it."""
    folder = ASSETS / "models" / "embedded"
    assert of_folder("StableDiffusionPipeline", folder) == "Stable Diffusion of width 128"
