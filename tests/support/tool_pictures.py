"""Pictures of other tools, each after the format that the tool writes."""

from __future__ import annotations

import json
from typing import Any

from tests.support.picture_files import build_xmp, write_png, write_stealth_png, write_with_comment

PROMPT = "a red circle, (bright:1.2)"
SETTINGS = "Steps: 12, Sampler: Euler a, CFG scale: 4.5, Seed: 7, Size: 128x96"


def build_infotext(settings: str, prompt: str = PROMPT, negative: str = "blurry") -> str:
    lines = [prompt, f"Negative prompt: {negative}" if negative else "", settings]
    return "\n".join(filter(None, lines))


def write_infotext(settings: str, prompt: str = PROMPT, negative: str = "blurry") -> bytes:
    return write_png({"parameters": build_infotext(settings, prompt, negative)})


def build_fooocus_json(**changes: Any) -> dict[str, Any]:
    return {
        "adm_guidance": "(1.5, 0.8, 0.3)", "base_model": "embedded", "base_model_hash": "",
        "full_negative_prompt": ["blurry"], "full_prompt": ["cinematic still a red circle", "a red circle, intricate"],
        "guidance_scale": 4.5, "loras": [["neon", 0.5, "abcdef12"], ["gone", 0.1, "12345678"]],
        "metadata_scheme": "fooocus", "negative_prompt": "blurry", "performance": "Speed", "prompt": "a red circle",
        "prompt_expansion": "", "refiner_model": "None", "refiner_switch": 0.5, "resolution": "(128, 96)",
        "sampler": "dpmpp_2m_sde_gpu", "scheduler": "karras", "seed": "7", "sharpness": 2, "steps": 12,
        "styles": "['Fooocus V2']", "vae": "Default (model)", "version": "Fooocus v2.5.5",
    } | changes  # fmt: skip


def build_invokeai_json(**changes: Any) -> dict[str, Any]:
    """Returns the metadata of versions 4 and later."""
    model = {"key": "6a1c", "hash": "blake3:0123", "name": "embedded", "base": "sd-1", "type": "main"}
    lora = {"key": "7b2d", "hash": "blake3:4567", "name": "neon", "base": "sd-1", "type": "lora"}
    return {
        "generation_mode": "txt2img", "positive_prompt": "a red++ circle, (bright)1.2", "negative_prompt": "blurry",
        "width": 128, "height": 96, "seed": 7, "rand_device": "cpu", "cfg_scale": 4.5, "cfg_rescale_multiplier": 0,
        "steps": 12, "scheduler": "dpmpp_2m_k", "clip_skip": 0, "seamless_x": False, "seamless_y": False,
        "model": model, "loras": [{"model": lora, "weight": 0.75}], "app_version": "5.6.0",
    } | changes  # fmt: skip


def build_invokeai_3_json() -> dict[str, Any]:
    return build_invokeai_json(
        model={"model_name": "analog-diffusion", "base_model": "sd-1", "model_type": "main"},
        loras=[{"lora": {"model_name": "neon", "base_model": "sd-1"}, "weight": 0.75}],
        vae={"model_name": "sd-vae-ft-mse", "base_model": "sd-1"}, scheduler="euler_a", rand_device="cuda",
        app_version="3.3.0post3", strength=0.5, init_image="start.png", positive_prompt="a red circle",
        controlnets=[{"control_model": {"model_name": "canny"}, "image": {"image_name": "edges.png"}}],
    )  # fmt: skip


def build_invokeai_2_json() -> dict[str, Any]:
    return {
        "model": "stable diffusion", "model_weights": "embedded", "model_hash": "cc6cb27103417325",
        "app_id": "invoke-ai/InvokeAI", "app_version": "2.3.5",
        "image": {
            "prompt": [{"prompt": "a red circle [blurry]", "weight": 1.0}], "steps": 12, "cfg_scale": 4.5,
            "threshold": 0, "perlin": 0, "height": 96, "width": 128, "seed": 7, "seamless": False, "hires_fix": False,
            "type": "txt2img", "postprocessing": None, "sampler": "k_euler_a", "variations": [],
        },
    }  # fmt: skip


def build_swarmui_json(**changes: Any) -> dict[str, Any]:
    params = {
        "prompt": "a red circle <segment:face>eyes", "negativeprompt": "blurry", "model": "Official/embedded",
        "seed": 7, "steps": "12", "cfgscale": "4.5", "aspectratio": "4:3", "width": 128, "height": 96,
        "sampler": "euler", "scheduler": "karras", "automaticvae": True, "loras": "neon,other/gone",
        "loraweights": "0.5,1", "clipstopatlayer": "-2", "swarm_version": "0.9.6.2",
    } | changes  # fmt: skip
    return {
        "sui_image_params": params,
        "sui_extra_data": {"date": "2025-06-01", "generation_time": "0.1 (prep) and 2.0 (gen) seconds"},
        "sui_models": [{"name": "Official/embedded.safetensors", "param": "model", "hash": "0x0123"}],
    }


def build_novelai_texts(**changes: Any) -> dict[str, str]:
    comment = {
        "prompt": "{red} circle, [[dim]], plain (round)", "steps": 28, "height": 96, "width": 128, "scale": 5.0,
        "uncond_scale": 0.0, "cfg_rescale": 0.0, "seed": 7, "n_samples": 1, "noise_schedule": "karras",
        "sampler": "k_dpmpp_2m", "sm": False, "sm_dyn": False, "uc": "blurry", "request_type": "PromptGenerateRequest",
        "signed_hash": "x",
    } | changes  # fmt: skip
    return {
        "Title": "NovelAI generated image", "Description": "{red} circle", "Software": "NovelAI",
        "Source": "NovelAI Diffusion V3 C1E1DE52", "Generation time": "4.2", "Comment": json.dumps(comment),
    }  # fmt: skip


def build_novelai_4_texts() -> dict[str, str]:
    def caption(text: str, character: str) -> dict[str, Any]:
        centers = [{"x": 0.5, "y": 0.5}]
        return {"caption": {"base_caption": text, "char_captions": [{"char_caption": character, "centers": centers}]}}

    return build_novelai_texts(
        prompt="1.3::red:: circle", v4_prompt=caption("1.3::red:: circle", "a cat"), sampler="k_euler_ancestral",
        v4_negative_prompt=caption("blurry", ""), noise_schedule="native", cfg_rescale=0.4,
    )  # fmt: skip


def build_easy_diffusion_values() -> dict[str, Any]:
    return {
        "prompt": "a red circle", "negative_prompt": "blurry", "seed": 7, "use_stable_diffusion_model": "embedded",
        "clip_skip": True, "use_vae_model": None, "sampler_name": "euler_a", "width": 128, "height": 96,
        "num_inference_steps": 12, "guidance_scale": 4.5, "use_lora_model": ["neon", "gone"], "lora_alpha": [0.5, 1.0],
        "use_embeddings_model": None, "tiling": "x", "use_face_correction": None, "use_upscale": "RealESRGAN_x4plus",
        "upscale_amount": 4,
    }  # fmt: skip


def build_easy_diffusion_text_values() -> dict[str, str]:
    """Returns the chunks of a picture that was saved while the format of texts was on."""
    return {
        "Prompt": "a red circle", "Negative Prompt": "blurry", "Seed": "7", "Stable Diffusion model": "embedded",
        "Clip Skip": "False", "VAE model": "None", "Sampler": "heun", "Width": "128", "Height": "96", "Steps": "12",
        "Guidance Scale": "4.5", "LoRA model": "neon", "LoRA Strength": "0.5", "Prompt Strength": "0.8",
    }  # fmt: skip


def build_draw_things_json(**changes: Any) -> dict[str, Any]:
    return {
        "c": "a red circle", "uc": "blurry", "model": "embedded.ckpt", "sampler": "DPM++ 2M Karras", "scale": 4.5,
        "seed": 7, "seed_mode": "Scale Alike", "size": "128x96", "steps": 12, "strength": 1, "control": [],
        "lora": [{"model": "neon.ckpt", "weight": 0.5}], "v2": {"clipSkip": 2, "width": 128},
    } | changes  # fmt: skip


CIVITAI_RESOURCES = [
    {"type": "checkpoint", "modelVersionId": 128078, "modelName": "SD XL", "modelVersionName": "v1.0"},
    {"type": "lora", "weight": 0.7, "modelVersionId": 34, "modelName": "neon", "modelVersionName": "v2, bright"},
]


def build_civitai_infotext() -> str:
    resources = json.dumps(CIVITAI_RESOURCES, separators=(",", ":"))
    dates = "Created Date: 2025-11-28T0918:43.5269343Z"
    return build_infotext(f"{SETTINGS}, Clip skip: 2, {dates}, Civitai resources: {resources}, Civitai metadata: {{}}")


def build_civitai_graph(graph: dict[str, Any]) -> dict[str, Any]:
    settings = {
        "prompt": "a red circle", "negativePrompt": "blurry", "cfgScale": 4.5, "sampler": "DPM++ 2M SDE Karras",
        "workflowId": "img2img-hires", "resources": [{"modelVersionId": 128078, "strength": 1}, {"modelVersionId": 34}],
        "seed": 7, "steps": 12, "width": 128, "height": 96, "clipSkip": 2,
    }  # fmt: skip
    airs = ["urn:air:sdxl:checkpoint:civitai:101055@128078", "urn:air:sdxl:lora:civitai:12@34"]
    return {**graph, "extra": {"airs": airs}, "extraMetadata": json.dumps(settings)}


def write_draw_things_png() -> bytes:
    return write_png({"XML:com.adobe.xmp": build_xmp(build_draw_things_json(), "Draw Things")})


def write_novelai_stealth_png() -> bytes:
    return write_stealth_png(build_novelai_texts())


def write_easy_diffusion_png() -> bytes:
    return write_png({name: str(value) for name, value in build_easy_diffusion_values().items()})


def write_easy_diffusion_jpeg() -> bytes:
    return write_with_comment("JPEG", build_easy_diffusion_values())
