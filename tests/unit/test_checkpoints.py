"""Single-file checkpoints in the models folder: what each is, how it was trained, and why it cannot be loaded."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagegen.errors import InvalidCatalogue, UnusableModel
from imagegen.library.checkpoint_detection import CONFIGS_DIR
from imagegen.library.library import Library
from imagegen.library.original_tensors import list_flux
from imagegen.library.weight_files import read_header
from imagegen.schema.models import ModelSource
from tests.doubles import make_library
from tests.unit.model_files import (
    Shape,
    write_checkpoint,
    write_hollow,
    write_json,
    write_names,
    write_transformer_model,
    write_unet_model,
)

UNET, OPEN_CLIP = "model.diffusion_model.", "cond_stage_model.model."
FIRST_LAYER = f"{UNET}input_blocks.0.0.weight"
LAST_BIAS = f"{UNET}out.2.bias"
# The bias whose spread tells the two sizes of Stable Diffusion 2 apart, in ComfyUI's rule.
SD_2_BIAS = f"{UNET}output_blocks.11.1.transformer_blocks.0.norm1.bias"
FLUX_CONFIG: dict[str, Any] = {
    "in_channels": 64,
    "num_layers": 2,
    "num_single_layers": 1,
    "attention_head_dim": 8,
    "num_attention_heads": 1,
    "joint_attention_dim": 8,
    "pooled_projection_dim": 8,
    "guidance_embeds": True,
}
NAME = "mine.safetensors"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.fixture
def library(models: Path, tmp_path: Path) -> Library:
    return make_library(tmp_path)


def get_source(library: Library) -> ModelSource:
    source = library.models.get(NAME).source
    assert source is not None
    return source


def read_refusal(library: Library) -> str:
    """Returns why the file is refused. It is not in the list either."""
    with pytest.raises(UnusableModel) as refused:
        library.models.get(NAME)
    assert NAME not in [model.info.id for model in library.models.list_available()]
    return str(refused.value).removeprefix(f"model: {NAME} cannot be used: ")


def write_flux(models: Path, channels: int = 64, changes: dict[str, Shape] | None = None, prefix: str = "") -> Path:
    """Writes a denoiser of FLUX.1 with two blocks, and a complete model that has its other parts."""
    base = write_transformer_model(models / "base", **FLUX_CONFIG)
    shapes = {prefix + name: shape for name, shape in list_flux(base, channels).items()}
    return write_hollow(models / NAME, shapes | (changes or {}))


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ("sd-1", f"{UNET}input_blocks.12.0.in_layers.0.weight"),
        ("sd-1", "first_stage_model.decoder.up.4.block.0.norm1.weight"),
        ("sd-1", "embedding_manager.string_to_param_dict.*"),
        ("sd-1", f"{UNET}out.2.weight_v"),
        ("sd-2", f"{OPEN_CLIP}transformer.resblocks.24.ln_1.weight"),
        ("sd-xl", f"{UNET}middle_block.1.transformer_blocks.10.norm1.weight"),
        ("sd-xl", f"{UNET}out.2.comfy_quant"),
    ],
)
def test_a_tensor_without_a_place_is_named(library: Library, models: Path, config: str, name: str) -> None:
    write_checkpoint(models / NAME, config, {name: (4,)})
    assert read_refusal(library) == f"its tensor {name} has no place in its networks"


def test_a_surplus_block_of_flux_is_named(library: Library, models: Path) -> None:
    write_flux(models, changes={"double_blocks.2.img_mod.lin.weight": (48, 8)})
    assert read_refusal(library) == "its tensor double_blocks.2.img_mod.lin.weight has no place in its networks"


def test_text_encoders_beside_a_denoiser_of_flux_are_named(library: Library, models: Path) -> None:
    name = "text_encoders.t5xxl.transformer.shared.weight"
    write_flux(models, changes={name: (8, 8)}, prefix=UNET)
    assert read_refusal(library) == f"its tensor {name} has no place in its networks"


def test_a_file_that_is_not_listed_is_logged_once(
    library: Library, models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_checkpoint(models / NAME, changes={LAST_BIAS: None})
    for _ in range(2):
        library.models.list_available()
    problems = [getattr(record, "problem", "") for record in caplog.records]
    assert problems == [f"model: {NAME} cannot be used: it has no tensor {LAST_BIAS}"]


def test_a_missing_tensor_is_named(library: Library, models: Path) -> None:
    write_checkpoint(models / NAME, changes={LAST_BIAS: None})
    assert read_refusal(library) == f"it has no tensor {LAST_BIAS}"


def test_a_tensor_of_another_shape_is_named(library: Library, models: Path) -> None:
    write_checkpoint(models / NAME, changes={LAST_BIAS: (5,)})
    assert read_refusal(library) == f"its tensor {LAST_BIAS} has the shape 5, where 4 is expected"


def test_tensors_that_carry_nothing_are_no_obstacle(library: Library, models: Path) -> None:
    text = "cond_stage_model.transformer.text_model."
    surplus = (f"{text}embeddings.position_ids", "model_ema.decay", "logvar", "posterior_mean_coef1", "global_step")
    write_checkpoint(models / NAME, changes=dict.fromkeys(surplus, (1,)))
    assert get_source(library).config == CONFIGS_DIR / "sd-1"


def test_layers_may_be_convolutions_of_one_pixel(library: Library, models: Path) -> None:
    changes = {
        f"{UNET}middle_block.1.proj_in.weight": (1280, 1280, 1, 1),
        "first_stage_model.quant_conv.weight": (8, 8),
    }
    write_checkpoint(models / NAME, "sd-xl", changes)
    assert get_source(library).config == CONFIGS_DIR / "sd-xl"


@pytest.mark.parametrize("scale", ["scale_weight", "weight_scale"])
@pytest.mark.parametrize("shape", [(), (1,), (4,), (4, 1)])
def test_weights_in_fp8_may_have_scales(library: Library, models: Path, scale: str, shape: Shape) -> None:
    changes: dict[str, Shape | None] = {f"{UNET}out.2.{scale}": shape, f"{UNET}out.2.scale_input": (), "scaled_fp8": ()}
    write_checkpoint(models / NAME, "sd-1", changes, dtypes={f"{UNET}out.2.weight": "F8_E4M3"})
    assert get_source(library).config == CONFIGS_DIR / "sd-1"


@pytest.mark.parametrize(
    ("dtype", "shape", "problem"),
    [
        ("F16", (), "scales weights that are not in fp8"),
        ("F8_E4M3", (2, 2), "has the shape 2 x 2; it can be one number, or one per output"),
    ],
)
def test_a_scale_that_cannot_be_used_is_named(
    library: Library, models: Path, dtype: str, shape: Shape, problem: str
) -> None:
    write_checkpoint(models / NAME, "sd-1", {f"{UNET}out.2.scale_weight": shape}, dtypes={f"{UNET}out.2.weight": dtype})
    assert read_refusal(library) == f"its tensor {UNET}out.2.scale_weight {problem}"


def test_a_scale_of_inputs_needs_one_of_weights(library: Library, models: Path) -> None:
    write_checkpoint(models / NAME, changes={f"{UNET}out.2.scale_input": ()})
    assert read_refusal(library) == f"its tensor {UNET}out.2.scale_input has no place in its networks"


def test_whole_numbers_are_no_weights(library: Library, models: Path) -> None:
    write_checkpoint(models / NAME, dtypes={f"{UNET}out.2.weight": "U8"})
    assert read_refusal(library) == f"its tensor {UNET}out.2.weight has the type U8"


@pytest.mark.parametrize(
    ("channels", "what"), [(5, "Stable Diffusion 2 for depth maps"), (8, "InstructPix2Pix"), (9, None)]
)
def test_input_channels_say_what_a_denoiser_is_for(
    library: Library, models: Path, channels: int, what: str | None
) -> None:
    write_checkpoint(models / NAME, changes={FIRST_LAYER: (320, channels, 3, 3)})
    if what is not None:
        assert read_refusal(library) == f"it is {what}, as its {channels} input channels say"
        return
    can = library.models.get(NAME).info.can
    assert (can.inpainting, can.text_to_image, can.image_to_image) == (True, False, False)


def test_a_denoiser_of_flux_fill_inpaints(library: Library, models: Path) -> None:
    write_flux(models, channels=384)
    can = library.models.get(NAME).info.can
    assert (can.inpainting, can.text_to_image, can.image_to_image) == (True, False, False)


def test_a_denoiser_of_flux_depth_is_refused(library: Library, models: Path) -> None:
    write_flux(models, channels=128)
    assert read_refusal(library) == "it is FLUX.1 Depth or Canny, as its 128 input channels say"


def write_gguf(file: Path, shapes: Mapping[str, Shape]) -> Path:
    """Writes a GGUF file of version 3 with metadata of several types; its values are a hole."""

    def pack_text(text: str) -> bytes:
        return struct.pack("<Q", len(text)) + text.encode()

    metadata = [
        pack_text("general.architecture") + struct.pack("<I", 8) + pack_text("flux"),
        pack_text("general.quantization_version") + struct.pack("<II", 4, 2),
        pack_text("general.tags") + struct.pack("<IIQ", 9, 8, 2) + pack_text("a") + pack_text("b"),
        pack_text("general.sides") + struct.pack("<IIQ3I", 9, 4, 3, 1, 2, 3),
    ]
    content = b"GGUF" + struct.pack("<IQQ", 3, len(shapes), len(metadata)) + b"".join(metadata)
    for number, (name, shape) in enumerate(shapes.items()):
        sides = struct.pack(f"<{len(shape)}Q", *reversed(shape))
        content += pack_text(name) + struct.pack("<I", len(shape)) + sides + struct.pack("<IQ", 8, number * 32)
    file.write_bytes(content + bytes(32 * len(shapes)))
    return file


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({}, None),
        ({"double_blocks.2.img_mod.lin.weight": (48, 8)},
         "its tensor double_blocks.2.img_mod.lin.weight has no place in its networks"),
        ({"img_in.bias": (9,)}, "its tensor img_in.bias has the shape 9, where 8 is expected"),
    ],
)  # fmt: skip
def test_a_gguf_file_is_checked_by_its_head(
    models: Path, tmp_path: Path, change: dict[str, Shape], problem: str | None
) -> None:
    base = write_transformer_model(models / "base", **FLUX_CONFIG)
    write_gguf(models / "mine.gguf", list_flux(base, in_channels=64) | change)
    entry = {"id": "own", "name": "Own", "path": "mine.gguf", "pipeline": "FluxPipeline", "quantization": "gguf"}
    write_json(models / "catalogue.json", [entry])
    library = make_library(tmp_path)
    if problem is None:
        source = library.models.get("own").source
        assert source is not None and source.config == base
        write_names(models / "mine.gguf", "safetensors")
        assert library.models.get("own").source is None
        return
    with pytest.raises(UnusableModel, match=f"own cannot be used: {problem}"):
        library.models.get("own")


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (("double_blocks.0.img_attn.qkv.weight", "distilled_guidance_layer.in_proj.weight"), "Chroma"),
        (("model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight",), "Stable Diffusion 3"),
        (("conditioner.embedders.0.model.transformer.resblocks.0.ln_1.weight", FIRST_LAYER,
          f"{UNET}label_emb.0.0.weight"), "the refiner of Stable Diffusion XL"),
    ],
)  # fmt: skip
def test_other_architectures_are_named(library: Library, models: Path, names: tuple[str, ...], what: str) -> None:
    write_names(models / NAME, *names)
    assert read_refusal(library) == (
        f"it is {what}, and single files can be Stable Diffusion 1, 2, XL or FLUX.1; load a folder in diffusers format"
        " instead"
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("control_model.input_blocks.0.0.weight", "it is a ControlNet, which belongs in the folder controlnets"),
        ("decoder.conv_in.weight", "it is a VAE, which belongs in the folder vaes"),
        (FIRST_LAYER, "it is a denoiser of Stable Diffusion alone, without its text encoders"),
        ("down_blocks.0.resnets.0.conv1.weight", "it is one part of a model in diffusers format; use the whole folder"),
    ],
)
def test_other_files_are_named(library: Library, models: Path, name: str, reason: str) -> None:
    write_names(models / NAME, name)
    assert read_refusal(library) == reason


def test_packed_weights_are_named(library: Library, models: Path) -> None:
    name = "double_blocks.0.img_attn.qkv.weight.quant_state.bitsandbytes__nf4"
    write_flux(models, changes={name: (1,)})
    assert read_refusal(library) == f"its weights are packed by bitsandbytes, as its tensor {name} says"


def test_a_smaller_xl_is_named(library: Library, models: Path) -> None:
    """SSD-1B has four transformer blocks where Stable Diffusion XL has ten."""
    block = f"{UNET}input_blocks.8.1.transformer_blocks"
    write_checkpoint(models / NAME, "sd-xl", {f"{block}.9.norm1.weight": None})
    assert read_refusal(library).startswith("it is a smaller Stable Diffusion XL, such as SSD-1B")


@pytest.mark.parametrize(
    ("metadata", "prediction"),
    [
        ({"modelspec.prediction_type": "v"}, "v_prediction"),
        ({"modelspec.predict_key": "v"}, "v_prediction"),
        ({"modelspec.prediction_type": "epsilon"}, "epsilon"),
        ({}, None),
    ],
)
def test_metadata_say_what_is_predicted(
    library: Library, models: Path, metadata: dict[str, str], prediction: str | None
) -> None:
    write_checkpoint(models / NAME, "sd-xl", metadata=metadata)
    assert get_source(library).prediction_type == prediction


@pytest.mark.parametrize(
    ("markers", "prediction", "zero_snr"),
    [(("v_pred",), "v_prediction", None), (("v_pred", "ztsnr"), "v_prediction", True)],
)
def test_markers_say_what_is_predicted(
    library: Library, models: Path, markers: tuple[str, ...], prediction: str, zero_snr: bool | None
) -> None:
    write_checkpoint(models / NAME, "sd-xl", dict.fromkeys(markers, (0,)))
    source = get_source(library)
    assert (source.prediction_type, source.zero_snr) == (prediction, zero_snr)


@pytest.mark.parametrize(
    ("markers", "metadata", "problem"),
    [
        ((), {"modelspec.predict_key": "flow"}, "its metadata modelspec.predict_key is flow; it can be epsilon"),
        (("v_pred",), {"modelspec.prediction_type": "epsilon"},
         "its tensor v_pred says v_prediction and its metadata modelspec.prediction_type says epsilon"),
        (("ztsnr",), {}, "ztsnr or zero_snr needs the prediction_type v_prediction, and it has epsilon"),
        (("edm_vpred.sigma_max",), {}, "its tensor edm_vpred.sigma_max is not 120.0, as its configuration"),
        (("edm_mean", "edm_std"), {}, "its tensor edm_mean is not [-1.6574, 1.886, -1.383, 2.5155], as"),
    ],
)  # fmt: skip
def test_statements_that_cannot_be_followed_are_named(
    library: Library, models: Path, markers: tuple[str, ...], metadata: dict[str, str], problem: str
) -> None:
    write_checkpoint(models / NAME, "sd-xl", dict.fromkeys(markers, (1,)), metadata=metadata)
    assert read_refusal(library).startswith(problem)


def test_playground_2_5_does_not_inpaint(library: Library, models: Path) -> None:
    """The pipeline of diffusers that inpaints does not know the mean of its latents."""
    values = {"edm_mean": (-1.6574, 1.886, -1.383, 2.5155), "edm_std": (8.4927, 5.9022, 6.5498, 5.2299)}
    contents = {name: np.array(each, np.float32).tobytes() for name, each in values.items()}
    shapes = dict.fromkeys(values, (4,))
    write_checkpoint(models / NAME, "sd-xl", shapes, dtypes=dict.fromkeys(values, "F32"), values=contents)
    info = library.models.get(NAME).info
    assert (info.can.inpainting, info.can.text_to_image, info.can.image_to_image) == (False, True, True)
    assert info.sampler == "DPM++ 2M" and info.can.samplers == ("DPM++ 2M", "Euler", "DPM++ 2M SDE")


@pytest.mark.parametrize(
    ("scheduler", "problem"),
    [
        ({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0},
         "its scheduler is FlowMatchEulerDiscreteScheduler, whose noise levels no sampler here has"),
        ({"_class_name": "UniPCMultistepScheduler", "beta_schedule": "linear", "prediction_type": "flow_prediction"},
         "its scheduler says prediction_type flow_prediction; it can be epsilon, v_prediction, sample"),
    ],
)  # fmt: skip
def test_a_folder_with_a_scheduler_that_cannot_be_followed_is_refused(
    library: Library, models: Path, scheduler: dict[str, Any], problem: str
) -> None:
    write_json(write_unet_model(models / NAME) / "scheduler" / "scheduler_config.json", scheduler)
    assert read_refusal(library) == problem


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F32"])
@pytest.mark.parametrize(("spread", "config", "side"), [(0.12, "sd-2", 768), (0.05, "sd-2-base", 512)])
def test_a_bias_tells_the_sizes_of_stable_diffusion_2_apart(
    library: Library, models: Path, dtype: str, spread: float, config: str, side: int
) -> None:
    """By ComfyUI's rule: velocity if the standard deviation of a bias is above 0.09."""
    values = np.tile(np.array([-spread, spread], np.float32), 160)
    content = {"F32": values.tobytes(), "F16": values.astype(np.float16).tobytes()}
    content["BF16"] = (values.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    write_checkpoint(models / NAME, "sd-2", dtypes={SD_2_BIAS: dtype}, values={SD_2_BIAS: content[dtype]})
    assert get_source(library).config == CONFIGS_DIR / config
    assert library.models.get(NAME).info.width == side


def test_metadata_count_more_than_the_bias(library: Library, models: Path) -> None:
    write_checkpoint(models / NAME, "sd-2", metadata={"modelspec.architecture": "stable-diffusion-v2-768-v"})
    assert get_source(library).config == CONFIGS_DIR / "sd-2"


@pytest.mark.parametrize(
    ("names", "config"),
    [
        (("cond_stage_model.transformer.text_model.", "cond_stage_model.transformer."), "sd-1"),
        (("first_stage_model.", "vae."), "sd-xl"),
        ((OPEN_CLIP, "conditioner.embedders.0.model."), "sd-2"),
    ],
)
def test_names_of_other_tools_are_known(library: Library, models: Path, names: tuple[str, str], config: str) -> None:
    """Of 2022, of ComfyUI, and of SD-Turbo."""
    file = write_checkpoint(models / NAME, config)
    write_hollow(file, {name.replace(*names): shape for name, shape in read_header(file).shapes.items()})
    assert get_source(library).config == CONFIGS_DIR / (config if config != "sd-2" else "sd-2-base")


def test_two_names_of_one_tensor_are_refused(library: Library, models: Path) -> None:
    name = "cond_stage_model.transformer.final_layer_norm.bias"
    write_checkpoint(models / NAME, changes={name: (768,)})
    assert read_refusal(library) == f"its tensor {name} is there twice, under another name too"


def test_a_file_beside_it_says_what_it_does_not_show(library: Library, models: Path) -> None:
    write_checkpoint(models / NAME, "sd-2", {"v_pred": (0,)})
    said = {"prediction_type": "epsilon", "config": "sd-2"}
    write_json(models / "mine.studio.json", said)
    source = get_source(library)
    assert (source.prediction_type, source.config) == ("epsilon", CONFIGS_DIR / "sd-2")
    write_json(models / "mine.studio.json", {"prediction_type": "v_prediction", "zero_snr": True})
    assert (get_source(library).zero_snr, get_source(library).config) == (True, CONFIGS_DIR / "sd-2")


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"prediction_type": "flow"}, "mine.studio.json beside it: prediction_type"),
        ({"prediction": "epsilon"}, "mine.studio.json beside it: prediction"),
        ({"config": "../sd-1"}, "mine.studio.json beside it: config must be sd-1, sd-2, sd-2-base, sd-xl, cosxl, "),
    ],
)
def test_a_wrong_file_beside_it_is_named(library: Library, models: Path, said: dict[str, Any], problem: str) -> None:
    write_checkpoint(models / NAME)
    write_json(models / "mine.studio.json", said)
    assert read_refusal(library).startswith(problem)


@pytest.mark.parametrize(
    ("text", "prediction"),
    [("model: {params: {parameterization: v}}", "v_prediction"), ("model: {params: {linear_end: 0.012}}", "epsilon")],
)
def test_a_configuration_of_the_first_releases_is_read(
    library: Library, models: Path, text: str, prediction: str
) -> None:
    write_checkpoint(models / NAME, "sd-2")
    (models / "mine.yaml").write_text(text, encoding="utf-8")
    assert get_source(library).prediction_type == prediction


def test_the_catalogue_counts_most(models: Path, tmp_path: Path) -> None:
    write_checkpoint(models / NAME, "sd-xl", {"v_pred": (0,)})
    write_json(models / "mine.studio.json", {"prediction_type": "v_prediction", "zero_snr": True})
    entry = {"id": "own", "name": "Own", "path": NAME, "pipeline": "StableDiffusionXLPipeline"}
    write_json(
        models / "catalogue.json", [entry | {"prediction_type": "epsilon", "zero_snr": False, "config": "sd-xl"}]
    )
    source = make_library(tmp_path).models.get("own").source
    assert source is not None
    assert (source.prediction_type, source.zero_snr, source.config) == ("epsilon", False, CONFIGS_DIR / "sd-xl")


def test_the_catalogue_cannot_give_a_file_to_another_pipeline(models: Path, tmp_path: Path) -> None:
    write_checkpoint(models / NAME)
    entry = {"id": "own", "name": "Own", "path": NAME, "pipeline": "StableDiffusionXLPipeline"}
    write_json(models / "catalogue.json", [entry])
    with pytest.raises(
        UnusableModel, match="it is for StableDiffusionPipeline, and the catalogue says StableDiffusionXL"
    ):
        make_library(tmp_path).models.get("own")


def test_the_catalogue_has_no_prediction_type_for_transformers(models: Path, tmp_path: Path) -> None:
    entry = {"id": "own", "name": "Own", "path": NAME, "pipeline": "FluxPipeline", "prediction_type": "epsilon"}
    write_json(models / "catalogue.json", [entry])
    with pytest.raises(InvalidCatalogue, match="prediction_type and zero_snr are for Stable Diffusion 1, 2 and XL"):
        make_library(tmp_path)
