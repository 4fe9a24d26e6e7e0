"""Graphs of ComfyUI, as its nodes write them."""

from __future__ import annotations

from typing import Any

Graph = dict[str, dict[str, Any]]


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}}


def build_simple_graph(**sampler: Any) -> Graph:
    """Returns ComfyUI's first example, with changes of its sampler."""
    values = {
        "seed": 7, "steps": 12, "cfg": 4.5, "sampler_name": "dpmpp_2m", "scheduler": "karras", "denoise": 1.0,
        "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0],
    }  # fmt: skip
    return {
        "3": node("KSampler", **values | sampler),
        "4": node("CheckpointLoaderSimple", ckpt_name="embedded.safetensors"),
        "5": node("EmptyLatentImage", width=128, height=96, batch_size=1),
        "6": node("CLIPTextEncode", text="a red circle", clip=["4", 1]),
        "7": node("CLIPTextEncode", text="blurry", clip=["4", 1]),
        "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "9": node("SaveImage", filename_prefix="ComfyUI", images=["8", 0]),
    }


def build_adapter_graph() -> Graph:
    """Returns a graph with a chain of LoRAs, clip skip, a VAE and an embedding."""
    graph = build_simple_graph(model=["11", 0])
    return graph | {
        "6": node("CLIPTextEncode", text="a red circle, embedding:glow", clip=["12", 0]),
        "10": node(
            "LoraLoader", lora_name="neon.safetensors", strength_model=0.6, strength_clip=1, model=["4", 0],
            clip=["4", 1],
        ),
        "11": node("LoraLoaderModelOnly", lora_name="styles\\gone.safetensors", strength_model=1, model=["10", 0]),
        "12": node("CLIPSetLastLayer", stop_at_clip_layer=-2, clip=["10", 1]),
        "13": node("VAELoader", vae_name="other.safetensors"),
        "8": node("VAEDecode", samples=["3", 0], vae=["13", 0]),
    }  # fmt: skip


def build_second_pass_graph() -> Graph:
    graph = build_simple_graph()
    return graph | {
        "20": node("LatentUpscaleBy", upscale_method="nearest-exact", scale_by=1.5, samples=["3", 0]),
        "21": node(
            "KSampler", seed=8, steps=6, cfg=4.5, sampler_name="euler", scheduler="normal", denoise=0.5, model=["4", 0],
            positive=["6", 0], negative=["7", 0], latent_image=["20", 0],
        ),
        "8": node("VAEDecode", samples=["21", 0], vae=["4", 2]),
    }  # fmt: skip


def build_flux_graph() -> Graph:
    """Returns a graph of FLUX with the sampler in parts."""
    return {
        "1": node(
            "SamplerCustomAdvanced", noise=["2", 0], guider=["3", 0], sampler=["4", 0], sigmas=["5", 0],
            latent_image=["6", 0],
        ),
        "2": node("RandomNoise", noise_seed=["7", 0]),
        "3": node("BasicGuider", model=["8", 0], conditioning=["9", 0]),
        "4": node("KSamplerSelect", sampler_name="euler"),
        "5": node("BasicScheduler", scheduler="simple", steps=4, denoise=1, model=["8", 0]),
        "6": node("EmptySD3LatentImage", width=["12", 0], height=128, batch_size=1),
        "7": node("PrimitiveInt", value=11),
        "8": node("UNETLoader", unet_name="flux1-dev.safetensors", weight_dtype="default"),
        "9": node("FluxGuidance", guidance=3.5, conditioning=["10", 0]),
        "10": node("CLIPTextEncode", text=["11", 0], clip=["13", 0]),
        "11": node("StringConcatenate", string_a="a fox", string_b="in the snow", delimiter=" "),
        "12": node("Int", value=["14", 0]),
        "13": node("DualCLIPLoader", clip_name1="t5xxl.safetensors", clip_name2="clip_l.safetensors", type="flux"),
        "14": node("Reroute", value=128),
        "15": node("VAEDecode", samples=["1", 0], vae=["16", 0]),
        "16": node("VAELoader", vae_name="ae.safetensors"),
        "17": node("SaveImage", filename_prefix="f", images=["15", 0]),
    }  # fmt: skip


def build_control_graph() -> Graph:
    graph = build_simple_graph(positive=["30", 0], negative=["30", 1])
    return graph | {
        "30": node(
            "ControlNetApplyAdvanced", strength=0.8, start_percent=0, end_percent=1, positive=["6", 0],
            negative=["7", 0], control_net=["31", 0], image=["32", 0],
        ),
        "31": node("ControlNetLoader", control_net_name="canny.safetensors"),
        "32": node("LoadImage", image="edges.png"),
    }  # fmt: skip


def build_image_graph() -> Graph:
    graph = build_simple_graph(denoise=0.4, latent_image=["40", 0])
    return graph | {
        "40": node("VAEEncode", pixels=["41", 0], vae=["4", 2]),
        "41": node("LoadImage", image="start.png"),
    }


def build_cyclic_graph() -> Graph:
    """Returns a graph whose links lead in circles, to themselves, and nowhere."""
    graph = build_simple_graph(model=["50", 0], steps=["52", 0], latent_image=["3", 0])
    return graph | {
        "6": node("ConditioningCombine", conditioning_1=["6", 0], conditioning_2=["51", 0]),
        "50": node(
            "LoraLoader", lora_name="neon.safetensors", strength_model=["50", 0], model=["50", 0], clip=["99", 1]
        ),
        "51": node("CLIPTextEncode", text=["51", 0], clip=["50", 1]),
        "52": node("PrimitiveInt", value=["52", 0]),
    }  # fmt: skip


def build_workflow() -> dict[str, Any]:
    """Returns a graph as ComfyUI's page has it, with the widgets of each node as a list."""

    def ui_node(number: int, kind: str, widgets: list[Any], **links: int) -> dict[str, Any]:
        inputs = [{"name": name, "type": "*", "link": link} for name, link in links.items()]
        return {"id": number, "type": kind, "widgets_values": widgets, "inputs": inputs, "outputs": []}

    return {
        "last_node_id": 9,
        "nodes": [
            ui_node(
                3, "KSampler", [7, "fixed", 12, 4.5, "euler", "normal", 1], model=1, positive=4, negative=6,
                latent_image=2,
            ),
            ui_node(4, "CheckpointLoaderSimple", ["embedded.safetensors"]),
            ui_node(5, "EmptyLatentImage", [128, 96, 1]),
            ui_node(6, "CLIPTextEncode", ["a red circle"], clip=3),
            ui_node(7, "CLIPTextEncode", ["blurry"], clip=5),
            ui_node(8, "VAEDecode", [], samples=7, vae=8),
            ui_node(9, "SaveImage", ["ComfyUI"], images=9),
        ],
        "links": [
            [1, 4, 0, 3, 0, "MODEL"], [2, 5, 0, 3, 3, "LATENT"], [3, 4, 1, 6, 0, "CLIP"],
            [4, 6, 0, 3, 1, "CONDITIONING"],
            [5, 4, 1, 7, 0, "CLIP"], [6, 7, 0, 3, 2, "CONDITIONING"], [7, 3, 0, 8, 0, "LATENT"], [8, 4, 2, 8, 1, "VAE"],
            [9, 8, 0, 9, 0, "IMAGE"],
        ],
        "version": 0.4,
    }  # fmt: skip
