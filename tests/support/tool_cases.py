"""Pictures of other tools, and what is read of each: settings under the fields of a request, and notes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from imagegen.languages.translation import fill_in
from imagegen.media.metadata import notes
from tests.support import comfyui_graphs as graphs
from tests.support import tool_pictures as tools
from tests.support.picture_files import MAKE, MODEL, write_png, write_with_comment, write_with_exif_texts

BASE = {
    "prompt": "a red circle, (bright:1.2)", "negative_prompt": "blurry", "width": 128, "height": 96, "steps": 12,
    "guidance_scale": 4.5, "sampler": "Euler a", "seed": 7,
}  # fmt: skip
PLAIN = BASE | {"prompt": "a red circle"}
NEON = {"lora": "neon", "weight": 0.5}
NO_MODEL = fill_in(notes.NO_MODEL, {"model": "embedded"})
KARRAS = "DPM++ 2M Karras"
# What a picture of AUTOMATIC1111's web UI says without a word.
GPU = {"RNG": (None, notes.GPU_NOISE)}
HIRES = "Denoising strength: 0.4, Hires upscale"
START = notes.NEEDS_START_IMAGE


@dataclass(frozen=True)
class Case:
    """A file, and what is read: `mapped` and `missing` are the notes of settings by their names in the tool."""

    name: str
    content: bytes
    tool: str
    settings: Mapping[str, Any]
    mapped: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, tuple[str | None, str]] = field(default_factory=dict)


def infotext(
    name: str, extra: str = "", settings: Mapping[str, Any] = BASE, tool: str = "AUTOMATIC1111", **case: Any
) -> Case:
    """Returns a case of infotext with more settings. `base`, `prompt` and `negative` replace what is before them."""
    parts = {key: case.pop(key) for key in ("prompt", "negative") if key in case}
    line = case.pop("base", tools.SETTINGS) + (f", {extra}" if extra else "")
    return Case(name, tools.write_infotext(line, **parts), tool, settings, **case)


TEXT = tools.build_infotext(f"{tools.SETTINGS}, RNG: CPU")
DPM_2M = tools.SETTINGS.replace("Euler a", "DPM++ 2M")
CASES = [
    # AUTOMATIC1111's web UI.
    infotext("webui", "Version: v1.10.1", missing=GPU),
    infotext("webui on the CPU", "RNG: CPU"),
    infotext("webui with noise as on NVIDIA", "RNG: NV", missing={"RNG": (None, notes.OTHER_NOISE)}),
    infotext(
        "webui, last layer",
        "RNG: CPU, Clip skip: 1",
        BASE | {"clip_skip": 0},
        mapped={"Clip skip": notes.LAYERS_FROM_ONE},
    ),
    infotext(
        "webui, clip skip",
        "RNG: CPU, Clip skip: 2",
        BASE | {"clip_skip": 1},
        mapped={"Clip skip": notes.LAYERS_FROM_ONE},
    ),
    infotext(
        "webui, schedule in the name", "RNG: CPU", BASE | {"sampler": KARRAS}, base=DPM_2M.replace("2M", "2M Karras")
    ),
    infotext("webui, schedule apart", "RNG: CPU, Schedule type: Karras", BASE | {"sampler": KARRAS}, base=DPM_2M),
    infotext(
        "webui, other schedule",
        "RNG: CPU, Schedule type: Exponential",
        BASE | {"sampler": "DPM++ 2M"},
        base=DPM_2M,
        mapped={"Sampler": notes.NO_SCHEDULE},
    ),
    infotext(
        "webui, other sampler",
        "RNG: CPU",
        {name: value for name, value in BASE.items() if name != "sampler"},
        base=tools.SETTINGS.replace("Euler a", "Heun"),
        missing={"Sampler": ("sampler", notes.NO_SAMPLER)},
    ),
    infotext("webui, model by name", "RNG: CPU, Model hash: 6ce0161689, Model: Embedded", BASE | {"model": "embedded"}),
    infotext(
        "webui, other model",
        "RNG: CPU, Model hash: 6ce0161689, Model: v1-5-pruned",
        missing={"Model": ("model", NO_MODEL)},
    ),
    infotext(
        "webui, model by hash alone", "RNG: CPU, Model hash: 6ce0161689", missing={"Model hash": ("model", NO_MODEL)}
    ),
    infotext(
        "webui, VAE",
        "RNG: CPU, VAE hash: 735e4c3a44, VAE: vae-ft.safetensors",
        missing={"VAE": ("vae", notes.NOT_HERE)},
    ),
    infotext(
        "webui, LoRAs",
        'RNG: CPU, Lora hashes: "neon: abcdef123456, gone: 0123456789ab"',
        BASE | {"prompt": "a cat", "loras": [NEON]},
        prompt="a cat <lora:neon:0.5><lora:gone:1>",
        missing={"<lora:gone:1>": ("loras", notes.NOT_HERE)},
    ),
    infotext(
        "webui, textual inversion",
        'RNG: CPU, TI hashes: "glow: 0123456789"',
        missing={"TI hashes": ("embeddings", notes.NOT_HERE)},
    ),
    infotext(
        "webui, second pass",
        f"RNG: CPU, {HIRES}: 2, Hires steps: 6, Hires upscaler: Latent",
        BASE | {"hires_scale": 2.0, "hires_steps": 6, "hires_strength": 0.4, "hires_upscaler": "Latent"},
    ),
    infotext(
        "webui, second pass with other upscalers",
        f"RNG: CPU, {HIRES}: 1.5, Hires upscaler: 4x-UltraSharp, Hires CFG Scale: 6",
        BASE | {"hires_scale": 1.5, "hires_strength": 0.4},
        missing={
            "Hires upscaler": ("hires_upscaler", notes.NO_UPSCALER),
            "Hires CFG Scale": (None, notes.NO_SUCH_SETTING),
        },
    ),
    infotext(
        "webui, latent filter",
        f"RNG: CPU, {HIRES}: 2, Hires upscaler: Latent (bicubic)",
        BASE | {"hires_scale": 2.0, "hires_strength": 0.4, "hires_upscaler": "Latent"},
        mapped={"Hires upscaler": notes.LATENT_FILTER},
    ),
    infotext(
        "webui, inpainting",
        "RNG: CPU, Denoising strength: 0.75, Mask blur: 4, Inpaint area: Only masked",
        missing={
            "Denoising strength": ("strength", START),
            "Mask blur": ("mask_blur", START),
            "Inpaint area": ("mask_area", START),
        },
    ),
    infotext(
        "webui, variation",
        "RNG: CPU, Variation seed: 9, Variation seed strength: 0.3",
        BASE | {"variation_seed": 9, "variation_strength": 0.3},
    ),
    infotext(
        "webui, extensions",
        'RNG: CPU, ControlNet 0: "Module: canny, Model: control_canny [d14c016b], Weight: 1", '
        "ADetailer model: face_yolov8n.pt, ADetailer confidence: 0.3, ADetailer denoising strength: 0.5",
        BASE | {"detail_detector": "faces", "detail_confidence": 0.3, "detail_strength": 0.5},
        mapped={"ADetailer model": notes.STUDIO_DETECTOR},
        missing={"ControlNet 0": ("controls", notes.NEEDS_PICTURE)},
    ),
    infotext(
        "webui, combined prompts",
        "RNG: CPU",
        BASE | {"prompt": "a cat and a dog"},
        prompt="a cat AND a dog",
        mapped={"Prompt": notes.COMBINED_PROMPT},
    ),
    infotext(
        "webui, braces",
        "RNG: CPU",
        BASE | {"prompt": "a \\{red|blue} cat"},
        prompt="a {red|blue} cat",
        mapped={"Prompt": notes.PLAIN_BRACES},
    ),
    infotext(
        "webui, other tags",
        "RNG: CPU",
        BASE | {"prompt": "a cat"},
        prompt="a cat <hypernet:gone:1>",
        missing={"Prompt": (None, notes.UNKNOWN_TAG)},
    ),
    infotext(
        "webui, several lines",
        "RNG: CPU",
        BASE | {"prompt": "Note: this,\nStyle: that"},
        prompt="Note: this,\nStyle: that",
    ),
    infotext(
        "webui, more than there is here",
        "RNG: CPU",
        BASE | {"steps": 150, "guidance_scale": 30.0, "prompt": "x" * 4000},
        prompt="x" * 5000,
        base="Steps: 200, Sampler: Euler a, CFG scale: 40, Seed: 7, Size: 128x96",
        mapped={
            "Steps": fill_in(notes.LIMITED, {"least": 1, "most": 150}),
            "CFG scale": fill_in(notes.LIMITED, {"least": 1, "most": 30}),
            "Prompt": fill_in(notes.CUT_PROMPT, {"most": 4000}),
        },
    ),
    infotext(
        "webui, odd values",
        "RNG: CPU",
        {name: BASE[name] for name in ("prompt", "negative_prompt", "sampler")} | {"width": 128, "height": 96},
        base="Steps: many, Sampler: Euler a, CFG scale: nan, Seed: 18446744073709551615, Size: 133x101",
        mapped={"Size": fill_in(notes.SIDE_MULTIPLE, {"multiple": 8})},
        missing={
            "Steps": ("steps", notes.NO_NUMBER),
            "CFG scale": ("guidance_scale", notes.NO_NUMBER),
            "Seed": ("seed", fill_in(notes.LARGE_SEED, {"most": 2**32 - 1})),
        },
    ),
    infotext(
        "webui, extras",
        "",
        {"prompt": "", "width": 64, "height": 64, "scale": 2.0, "upscaler": "Lanczos"},
        prompt="",
        negative="",
        base="Postprocess upscale by: 2, Postprocess upscaler: Lanczos, Size: 64x64",
    ),
    Case(
        "webui, lines after the settings",
        write_png({"parameters": f"{TEXT}\nTemplate: a __colour__ circle\nand more"}),
        "AUTOMATIC1111",
        BASE,
    ),
    Case("webui, compressed chunk", write_png({"parameters": TEXT}, compressed=True), "AUTOMATIC1111", BASE),
    Case(
        "webui, characters of other scripts",
        write_png({"parameters": TEXT.replace("a red", "雪 é")}),
        "AUTOMATIC1111",
        BASE | {"prompt": "雪 é circle, (bright:1.2)"},
    ),
    Case("webui, JPEG", write_with_comment("JPEG", TEXT), "AUTOMATIC1111", BASE),
    Case(
        "webui, JPEG in the other byte order",
        write_with_comment("JPEG", TEXT, "utf-16-le", little_endian=True),
        "AUTOMATIC1111",
        BASE,
    ),
    Case(
        "webui, byte order of Exif is not that of the text",
        write_with_comment("JPEG", TEXT, "utf-16-be", little_endian=True),
        "AUTOMATIC1111",
        BASE,
    ),
    Case("webui, WebP", write_with_comment("WEBP", TEXT), "AUTOMATIC1111", BASE),
    Case("webui, WebP in ASCII", write_with_comment("WEBP", TEXT, "utf-8", b"ASCII\0\0\0"), "AUTOMATIC1111", BASE),
    Case("webui, JPEG without a prefix", write_with_comment("JPEG", TEXT, "utf-8", b""), "AUTOMATIC1111", BASE),
    Case("webui, UTF-8 that calls itself Unicode", write_with_comment("JPEG", TEXT, "utf-8"), "AUTOMATIC1111", BASE),
    Case("webui, PNG with Exif alone", write_with_comment("PNG", TEXT), "AUTOMATIC1111", BASE),
    # Forge and SD.Next.
    infotext(
        "Forge",
        "Schedule type: Simple, Distilled CFG Scale: 3.5, Model: flux1-dev, Module 1: ae, Version: f2.0.1v1.10.1",
        BASE | {"guidance_scale": 3.5},
        "Forge",
        base=tools.SETTINGS.replace("CFG scale: 4.5", "CFG scale: 1"),
        mapped={"Sampler": notes.NO_SCHEDULE},
        missing=GPU | {"Model": ("model", NO_MODEL), "VAE": ("vae", notes.NOT_HERE)},
    ),
    infotext(
        "Forge, automatic schedule",
        "Schedule type: Automatic, RNG: CPU, Version: f2.0.1",
        BASE | {"sampler": KARRAS},
        "Forge",
        base=DPM_2M,
    ),
    infotext(
        "SD.Next",
        "CFG rescale: 0.7, App: SD.Next, Version: 0eb4a98, Pipeline: X, Operations: txt2img",
        BASE,
        "SD.Next",
        missing={"CFG rescale": (None, notes.NO_SUCH_SETTING)},
    ),
    # Fooocus.
    Case(
        "Fooocus",
        write_png({"parameters": tools.build_fooocus_json(), "fooocus_scheme": "fooocus"}),
        "Fooocus",
        PLAIN
        | {
            "prompt": "cinematic still a red circle, a red circle, intricate",
            "sampler": "DPM++ 2M SDE Karras",
            "model": "embedded",
            "loras": [NEON],
        },
        {"sampler": notes.OTHER_SAMPLER},
        {"loras": ("loras", notes.NOT_HERE)}
        | dict.fromkeys(("adm_guidance", "refiner_switch", "sharpness"), (None, notes.NO_SUCH_SETTING)),
    ),
    Case(
        "Fooocus, JPEG",
        write_with_comment(
            "JPEG", tools.build_fooocus_json(loras=[], sharpness=0, adm_guidance="", refiner_switch=0, full_prompt="")
        ),
        "Fooocus",
        PLAIN | {"sampler": "DPM++ 2M SDE Karras", "model": "embedded"},
        {"sampler": notes.OTHER_SAMPLER},
    ),
    infotext(
        "Fooocus, the other scheme",
        'Raw prompt: "a red circle", Sharpness: 2, Version: Fooocus v2.5.5',
        PLAIN,
        "Fooocus",
        missing={"Sharpness": (None, notes.NO_SUCH_SETTING)},
    ),
    # ComfyUI.
    Case(
        "ComfyUI",
        write_png({"prompt": graphs.build_simple_graph(), "workflow": graphs.build_workflow()}),
        "ComfyUI",
        PLAIN | {"sampler": KARRAS, "model": "embedded"},
        {"sampler_name": notes.OTHER_SAMPLER},
    ),
    Case(
        "ComfyUI, LoRAs, clip skip, VAE and embedding",
        write_png({"prompt": graphs.build_adapter_graph()}),
        "ComfyUI",
        PLAIN
        | {
            "prompt": "a red circle, glow",
            "sampler": KARRAS,
            "model": "embedded",
            "clip_skip": 1,
            "loras": [{"lora": "neon", "weight": 0.6}],
        },
        {"sampler_name": notes.OTHER_SAMPLER, "stop_at_clip_layer": notes.LAYERS_FROM_ONE},
        {
            "lora_name": ("loras", notes.NOT_HERE),
            "vae_name": ("vae", notes.NOT_HERE),
            "positive": ("embeddings", notes.NOT_HERE),
        },
    ),
    Case(
        "ComfyUI, second pass",
        write_png({"prompt": graphs.build_second_pass_graph()}),
        "ComfyUI",
        PLAIN
        | {
            "sampler": KARRAS,
            "model": "embedded",
            "hires_scale": 1.5,
            "hires_steps": 6,
            "hires_strength": 0.5,
            "hires_upscaler": "Latent",
        },
        {"sampler_name": notes.OTHER_SAMPLER},
    ),
    Case(
        "ComfyUI, sampler in parts",
        write_png({"prompt": graphs.build_flux_graph()}),
        "ComfyUI",
        {
            "prompt": "a fox, in the snow",
            "width": 128,
            "height": 128,
            "steps": 4,
            "guidance_scale": 3.5,
            "sampler": "Euler",
            "seed": 11,
        },
        {"positive": notes.JOINED_TEXTS, "sampler_name": notes.NO_SCHEDULE},
        {"unet_name": ("model", NO_MODEL), "vae_name": ("vae", notes.NOT_HERE)},
    ),
    Case(
        "ComfyUI, ControlNet",
        write_png({"prompt": graphs.build_control_graph()}),
        "ComfyUI",
        PLAIN | {"sampler": KARRAS, "model": "embedded"},
        {"sampler_name": notes.OTHER_SAMPLER},
        {"control_net_name": ("controls", notes.NEEDS_PICTURE)},
    ),
    Case(
        "ComfyUI, start image",
        write_png({"prompt": graphs.build_image_graph()}),
        "ComfyUI",
        {name: value for name, value in PLAIN.items() if name not in ("width", "height")}
        | {"sampler": KARRAS, "model": "embedded"},
        {"sampler_name": notes.OTHER_SAMPLER},
        {"denoise": ("strength", START)},
    ),
    Case(
        "ComfyUI, links in circles",
        write_png({"prompt": graphs.build_cyclic_graph()}),
        "ComfyUI",
        {
            "prompt": "",
            "negative_prompt": "blurry",
            "guidance_scale": 4.5,
            "sampler": KARRAS,
            "seed": 7,
            "loras": [{"lora": "neon", "weight": 1.0}],
        },
        {"sampler_name": notes.OTHER_SAMPLER},
    ),
    Case(
        "ComfyUI, graph of the page",
        write_png({"workflow": graphs.build_workflow()}),
        "ComfyUI",
        PLAIN | {"sampler": "Euler", "model": "embedded"},
        {"sampler_name": notes.OTHER_SAMPLER},
    ),
    Case(
        "ComfyUI, WebP",
        write_with_exif_texts(
            "WEBP",
            {
                MODEL: f"prompt:{json.dumps(graphs.build_simple_graph())}",
                MAKE: f"workflow:{json.dumps(graphs.build_workflow())}",
            },
        ),
        "ComfyUI",
        PLAIN | {"sampler": KARRAS, "model": "embedded"},
        {"sampler_name": notes.OTHER_SAMPLER},
    ),
    # InvokeAI.
    Case(
        "InvokeAI",
        write_png({"invokeai_metadata": tools.build_invokeai_json()}),
        "InvokeAI",
        PLAIN
        | {
            "prompt": "a (red:1.21) circle, (bright:1.2)",
            "sampler": KARRAS,
            "clip_skip": 0,
            "model": "embedded",
            "loras": [{"lora": "neon", "weight": 0.75}],
        },
        {"positive_prompt": notes.WEIGHT_SYNTAX, "scheduler": notes.OTHER_SAMPLER},
    ),
    Case(
        "InvokeAI 3",
        write_png({"invokeai_metadata": tools.build_invokeai_3_json()}),
        "InvokeAI",
        PLAIN | {"clip_skip": 0, "loras": [{"lora": "neon", "weight": 0.75}]},
        {"scheduler": notes.OTHER_SAMPLER},
        {
            "model": ("model", NO_MODEL),
            "vae": ("vae", notes.NOT_HERE),
            "strength": ("strength", START),
            "controlnets": ("controls", notes.NEEDS_PICTURE),
            "rand_device": (None, notes.GPU_NOISE),
        },
    ),
    Case(
        "InvokeAI 2",
        write_png({"sd-metadata": tools.build_invokeai_2_json()}),
        "InvokeAI",
        PLAIN | {"model": "embedded"},
        {"sampler": notes.OTHER_SAMPLER},
    ),
    # SwarmUI.
    Case(
        "SwarmUI",
        write_png({"parameters": tools.build_swarmui_json()}),
        "SwarmUI",
        PLAIN
        | {"prompt": "a red circle eyes", "sampler": "Euler", "clip_skip": 1, "model": "embedded", "loras": [NEON]},
        {"sampler": notes.NO_SCHEDULE, "clipstopatlayer": notes.LAYERS_FROM_ONE},
        {"loras": ("loras", notes.NOT_HERE), "prompt": (None, notes.UNKNOWN_TAG)},
    ),
    Case(
        "SwarmUI, JPEG",
        write_with_comment(
            "JPEG", tools.build_swarmui_json(prompt="a red circle", loras="", clipstopatlayer="-1", scheduler="normal")
        ),
        "SwarmUI",
        PLAIN | {"sampler": "Euler", "clip_skip": 0, "model": "embedded"},
        {"sampler": notes.OTHER_SAMPLER, "clipstopatlayer": notes.LAYERS_FROM_ONE},
    ),
    # NovelAI.
    *(
        Case(
            name,
            content,
            "NovelAI",
            PLAIN
            | {
                "prompt": "(red:1.05) circle, ((dim:0.95):0.95), plain \\(round\\)",
                "steps": 28,
                "guidance_scale": 5.0,
                "sampler": KARRAS,
            },
            {"prompt": notes.WEIGHT_SYNTAX, "sampler": notes.OTHER_SAMPLER},
            {"Source": ("model", NO_MODEL)},
        )
        for name, content in (
            ("NovelAI", write_png(tools.build_novelai_texts())),
            ("NovelAI, alpha channel", tools.write_novelai_stealth_png()),
            ("NovelAI, WebP", write_with_comment("WEBP", tools.build_novelai_texts())),
        )
    ),
    Case(
        "NovelAI 4",
        write_png(tools.build_novelai_4_texts()),
        "NovelAI",
        PLAIN | {"prompt": "(red:1.3) circle, a cat", "steps": 28, "guidance_scale": 5.0},
        {"prompt": notes.WEIGHT_SYNTAX, "sampler": notes.OTHER_SAMPLER},
        {"Source": ("model", NO_MODEL), "cfg_rescale": (None, notes.NO_SUCH_SETTING)},
    ),
    # Easy Diffusion.
    *(
        Case(
            name,
            content,
            "Easy Diffusion",
            PLAIN | {"clip_skip": 1, "model": "embedded", "loras": [NEON], "scale": 4.0},
            {"sampler_name": notes.OTHER_SAMPLER},
            {
                "use_lora_model": ("loras", notes.NOT_HERE),
                "use_upscale": ("upscaler", notes.NO_UPSCALER),
                "tiling": (None, notes.NO_SUCH_SETTING),
            },
        )
        for name, content in (
            ("Easy Diffusion", tools.write_easy_diffusion_png()),
            ("Easy Diffusion, JPEG", tools.write_easy_diffusion_jpeg()),
        )
    ),
    Case(
        "Easy Diffusion, chunks of the text format",
        write_png(tools.build_easy_diffusion_text_values()),
        "Easy Diffusion",
        {name: value for name, value in PLAIN.items() if name != "sampler"} | {"model": "embedded", "loras": [NEON]},
        {},
        {"sampler_name": ("sampler", notes.NO_SAMPLER), "prompt_strength": ("strength", START)},
    ),
    # Draw Things.
    *(
        Case(
            name,
            content,
            "Draw Things",
            PLAIN | {"sampler": KARRAS, "clip_skip": 1, "model": "embedded", "loras": [NEON]},
            {"v2.clipSkip": notes.LAYERS_FROM_ONE},
            {"seed_mode": (None, notes.OTHER_NOISE)},
        )
        for name, content in (
            ("Draw Things", tools.write_draw_things_png()),
            ("Draw Things, JPEG", write_with_comment("JPEG", tools.build_draw_things_json(), "utf-8", b"ASCII\0\0\0")),
        )
    ),
    # Civitai's generator.
    Case(
        "Civitai",
        write_with_comment("JPEG", tools.build_civitai_infotext()),
        "Civitai",
        BASE | {"clip_skip": 1, "loras": [{"lora": "neon", "weight": 0.7}]},
        {"Clip skip": notes.LAYERS_FROM_ONE},
        {"Civitai resources": ("model", NO_MODEL)},
    ),
    Case(
        "Civitai, graph",
        write_with_comment("JPEG", tools.build_civitai_graph(graphs.build_simple_graph())),
        "Civitai",
        PLAIN | {"sampler": "DPM++ 2M SDE Karras", "clip_skip": 1},
        {"clipSkip": notes.LAYERS_FROM_ONE},
        {"resources": ("loras", notes.NOT_HERE)},
    ),
]
