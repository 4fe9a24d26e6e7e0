"""ComfyUI: the graph of nodes in `prompt`, or the one of its page in `workflow`."""

from __future__ import annotations

from collections.abc import Mapping

from imagegen.languages.translation import fill_in
from imagegen.media.metadata import notes
from imagegen.media.metadata.comfyui_graph import Graph, Node, convert_workflow, read_graph
from imagegen.media.metadata.found import FoundSampler, FoundSettings, NamedFile, parse_object, to_number, to_weight
from imagegen.media.metadata.png_text import SETTINGS_KEY

LATENT_SIZES = ("width", "height")
MODEL_NAMES = ("ckpt_name", "unet_name", "model_name", "base_ckpt_name")
# What makes a picture or latents larger between two samplers.
SCALE_NAMES = ("scale_by", "upscale_by")
HIRES = {"steps": "hires_steps", "denoise": "hires_strength"}


def read_comfyui(texts: Mapping[str, str]) -> FoundSettings | None:
    """Returns the settings of the first sampler before the picture; None for a graph without one."""
    graph = find_graph(texts)
    samplers = graph.find_samplers() if graph is not None else []
    if graph is None or not samplers:
        return None
    found = FoundSettings("ComfyUI")
    sampler = samplers[-1]
    add_prompts(found, graph, sampler)
    add_sampling(found, graph, sampler)
    add_size(found, graph, sampler)
    add_files(found, graph, sampler)
    if len(samplers) == 2:
        add_second_pass(found, graph, samplers[0])
    elif len(samplers) > 2:
        found.add("samplers", len(samplers), note=fill_in(notes.FIRST_SAMPLER, {"number": len(samplers)}))
    add_controls(found, graph, sampler)
    return found


def find_graph(texts: Mapping[str, str]) -> Graph | None:
    for name in ("prompt", SETTINGS_KEY, "workflow"):
        values = parse_object(texts.get(name))
        graph = read_graph(convert_workflow(values) if isinstance(values.get("nodes"), list) else values)
        if graph.nodes:
            return graph
    return None


def add_prompts(found: FoundSettings, graph: Graph, sampler: Node) -> None:
    guider = graph.follow(sampler, "guider") or sampler
    for side, names, field in (
        ("positive", ("positive", "conditioning"), "prompt"),
        ("negative", ("negative",), "negative_prompt"),
    ):
        texts = graph.find_texts(guider, names)
        joined = ", ".join(dict.fromkeys(text.strip() for text in texts if text.strip()))
        found.add(side, joined, field, note=notes.JOINED_TEXTS if len(set(texts)) > 1 else "")


def add_sampling(found: FoundSettings, graph: Graph, sampler: Node) -> None:
    values = {
        name: graph.find_value(sampler, name)
        for name in ("seed", "noise_seed", "steps", "cfg", "sampler_name", "scheduler", "denoise", "guidance")
    }
    name, schedule = str(values["sampler_name"] or ""), str(values["scheduler"] or "")
    if name:
        found.add("sampler_name", ", ".join(filter(None, (name, schedule))), "sampler", FoundSampler(name, schedule))
    found.add("steps", values["steps"], "steps")
    if values["guidance"] is not None:
        found.add("guidance", values["guidance"], "guidance_scale")
    else:
        found.add("cfg", values["cfg"], "guidance_scale")
    found.add("seed", values["noise_seed"] if values["seed"] is None else values["seed"], "seed")
    denoise = to_number(values["denoise"])
    if denoise not in (None, 1):
        found.add("denoise", values["denoise"], "strength", note=notes.NEEDS_START_IMAGE)


def add_size(found: FoundSettings, graph: Graph, sampler: Node) -> None:
    for node in graph.walk(sampler, ("latent_image", "samples", "latent", "optional_latent")):
        width, height = (graph.resolve(node.inputs.get(side), side) for side in LATENT_SIZES)
        if node is not sampler and to_number(width) is not None and to_number(height) is not None:
            found.add("width, height", f"{to_number(width):.0f}x{to_number(height):.0f}", "size")
            return


def add_files(found: FoundSettings, graph: Graph, sampler: Node) -> None:
    start = graph.follow(sampler, "guider") or sampler
    text_nodes = list(graph.walk(start, ("positive", "conditioning", "clip")))
    model_nodes = [*graph.walk(start, ("model", "base_model")), *text_nodes]
    seen: set[str] = set()
    for node in model_nodes:
        if node.id in seen:
            continue
        seen.add(node.id)
        for name in MODEL_NAMES:
            value = graph.resolve(node.inputs.get(name), name)
            if isinstance(value, str) and is_model_loader(node):
                found.add(name, value, "model", NamedFile(value))
        for value, weight in list_loras(graph, node):
            found.add("lora_name", value, "lora", NamedFile(value, weight=weight))
        layer = to_number(graph.resolve(node.inputs.get("stop_at_clip_layer"), "stop_at_clip_layer"))
        if layer is not None and layer < 0:
            found.add("stop_at_clip_layer", f"{layer:.0f}", "clip_layer", -layer)
    for node in graph.nodes.values():
        vae = node.inputs.get("vae_name")
        if node.kind == "VAELoader" and isinstance(vae, str):
            found.add("vae_name", vae, "vae", NamedFile(vae))


def is_model_loader(node: Node) -> bool:
    """Returns whether a node loads a model, and not a ControlNet or an upscaler, which have the same names."""
    return not any(word in node.kind.casefold() for word in ("control", "upscale", "clipvision", "lora"))


def list_loras(graph: Graph, node: Node) -> list[tuple[str, float]]:
    """Returns the LoRAs of a loader: its own, or those of a stack with numbers or objects."""
    loras: list[tuple[str, float]] = []
    for name, value in node.inputs.items():
        match value:
            case {"on": True, "lora": str(lora), "strength": weight}:
                loras.append((lora, to_weight(weight)))
            case str() if name.startswith("lora_name") and value not in ("None", ""):
                suffix = name.removeprefix("lora_name")
                weights = (
                    node.inputs.get(f"{key}{suffix}")
                    for key in ("strength_model", "lora_wt", "model_str", "model_weight")
                )
                weight = next((graph.resolve(each, "value") for each in weights if each is not None), 1)
                loras.append((value, to_weight(weight)))
    return [lora for lora in loras if lora[1] != 0]


def add_second_pass(found: FoundSettings, graph: Graph, sampler: Node) -> None:
    """Adds the second of two samplers as the second pass, if something makes its latents larger."""
    between = list(graph.walk(sampler, ("latent_image", "samples", "pixels", "image", "upscale_model")))
    scales = [number for node in between for name in SCALE_NAMES
              if (number := to_number(graph.resolve(node.inputs.get(name), name))) is not None]  # fmt: skip
    if not scales:
        found.add("samplers", 2, note=fill_in(notes.FIRST_SAMPLER, {"number": 2}))
        return
    found.add("scale_by", scales[0], "hires_scale")
    for name, field in HIRES.items():
        found.add(name, graph.find_value(sampler, name), field)
    models = [
        node.inputs["model_name"]
        for node in between
        if node.kind == "UpscaleModelLoader" and "model_name" in node.inputs
    ]
    found.add("upscaler", models[0] if models else "Latent", "hires_upscaler")


def add_controls(found: FoundSettings, graph: Graph, sampler: Node) -> None:
    start = graph.follow(sampler, "guider") or sampler
    for node in graph.walk(start, ("positive", "conditioning", "control_net")):
        name = node.inputs.get("control_net_name")
        if isinstance(name, str):
            found.add("control_net_name", name, "controls", note=notes.NEEDS_PICTURE)
