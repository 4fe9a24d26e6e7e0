"""The graph of ComfyUI: its nodes, and how values and texts are found through their links.

A graph comes from outside: links may form cycles, lead nowhere, or be of any number. No search visits a node twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MAX_NODES = 20_000
MAX_HOPS = 64
# Names of inputs under which nodes that only hold a value have it, by preference.
VALUE_NAMES = (
    "value", "Value", "int", "float", "number", "Number", "seed", "noise_seed", "string", "text", "a", "INT", "FLOAT",
    "sampler_name", "scheduler",
)  # fmt: skip
# Names of inputs with the words of a prompt; a text that a node has made of a template comes first.
TEXT_NAMES = (
    "populated_text", "text", "text_g", "text_l", "clip_l", "clip_g", "t5xxl", "prompt", "positive_prompt", "string",
    "value", "string_a", "string_b", "text1", "text2", "text_a", "text_b", "text_0", "string1", "string2",
    "wildcard_text",
)  # fmt: skip
# Inputs through which conditioning goes to the next node.
CONDITIONING_NAMES = (
    "conditioning", "conditioning_1", "conditioning_2", "conditioning_to", "conditioning_from", "conditioning1",
    "conditioning2", "cond", "base_positive",
)  # fmt: skip
# Their output has no words in it.
EMPTY_CONDITIONINGS = ("ConditioningZeroOut",)
# The widgets of nodes in the graph of the page, in their order there. None is one that the other graph does not have.
WIDGETS: Mapping[str, Sequence[str | None]] = {
    "KSampler": ("seed", None, "steps", "cfg", "sampler_name", "scheduler", "denoise"),
    "KSamplerAdvanced": (
        "add_noise", "noise_seed", None, "steps", "cfg", "sampler_name", "scheduler", "start_at_step", "end_at_step",
        "return_with_leftover_noise",
    ),
    "CLIPTextEncode": ("text",),
    "CLIPTextEncodeFlux": ("clip_l", "t5xxl", "guidance"),
    "CheckpointLoaderSimple": ("ckpt_name",),
    "UNETLoader": ("unet_name", "weight_dtype"),
    "UnetLoaderGGUF": ("unet_name",),
    "LoraLoader": ("lora_name", "strength_model", "strength_clip"),
    "LoraLoaderModelOnly": ("lora_name", "strength_model"),
    "VAELoader": ("vae_name",),
    "EmptyLatentImage": ("width", "height", "batch_size"),
    "EmptySD3LatentImage": ("width", "height", "batch_size"),
    "LatentUpscaleBy": ("upscale_method", "scale_by"),
    "CLIPSetLastLayer": ("stop_at_clip_layer",),
    "FluxGuidance": ("guidance",),
    "RandomNoise": ("noise_seed", None),
    "KSamplerSelect": ("sampler_name",),
    "BasicScheduler": ("scheduler", "steps", "denoise"),
    "ControlNetLoader": ("control_net_name",),
    "UpscaleModelLoader": ("model_name",),
    "PrimitiveNode": ("value", None),
    "PrimitiveInt": ("value", None),
    "PrimitiveString": ("value",),
}  # fmt: skip


@dataclass(frozen=True)
class Node:
    """`inputs` are values and links; `kind` is the node's class."""

    id: str
    kind: str
    inputs: Mapping[str, Any]


@dataclass(frozen=True)
class Graph:
    nodes: Mapping[str, Node]

    def get_link(self, value: Any) -> tuple[Node, int] | None:
        """Returns the node that a link leads to, and which of its outputs; None for a value, and for a lost node."""
        match value:
            case [str() | int() as target, int(slot)] if str(target) in self.nodes:
                return self.nodes[str(target)], slot
        return None

    def follow(self, node: Node, name: str) -> Node | None:
        link = self.get_link(node.inputs.get(name))
        return link[0] if link is not None else None

    def resolve(self, value: Any, name: str) -> Any:
        """Returns a value that may be behind links; None if there is none. `name` is the input's."""
        for _ in range(MAX_HOPS):
            if not isinstance(value, list):
                return None if isinstance(value, dict) else value
            link = self.get_link(value)
            if link is None:
                return None
            inputs = link[0].inputs
            candidates = [inputs[each] for each in (name, *VALUE_NAMES) if each in inputs]
            value = next(
                (each for each in candidates if not isinstance(each, list | dict)), next(iter(candidates), None)
            )
        return None

    def walk(self, start: Node, names: Sequence[str]) -> Iterator[Node]:
        """Yields a node and those behind its links of these names, the nearest first, each once."""
        waiting, seen = deque([start]), {start.id}
        while waiting:
            node = waiting.popleft()
            yield node
            for name in names:
                following = self.follow(node, name)
                if following is not None and following.id not in seen:
                    seen.add(following.id)
                    waiting.append(following)

    def find_value(self, sampler: Node, name: str) -> Any:
        """Returns a setting of a sampler: its own, or that of the nodes that it takes it from."""
        for node in self.walk(
            sampler, ("noise", "guider", "sampler", "sigmas", "positive", "conditioning", "basic_pipe")
        ):
            value = self.resolve(node.inputs.get(name), name) if name in node.inputs else None
            if value is not None:
                return value
        return None

    def find_samplers(self) -> list[Node]:
        """Returns the samplers behind the saved pictures, the last one first; all, if nothing is saved."""
        samplers = {node.id: node for node in self.nodes.values() if is_sampler(node)}
        ends = [node for node in self.nodes.values() if node.kind.casefold().startswith(("saveimage", "image save"))]
        ends = ends or [node for node in self.nodes.values() if node.kind == "PreviewImage"]
        for end in ends:
            behind = [node for node in self.walk_all(end) if node.id in samplers]
            if behind:
                return behind
        return list(reversed(samplers.values()))

    def walk_all(self, start: Node) -> Iterator[Node]:
        """Yields a node and all those behind any of its links, the nearest first, each once."""
        waiting, seen = deque([start]), {start.id}
        while waiting:
            node = waiting.popleft()
            yield node
            for value in node.inputs.values():
                link = self.get_link(value)
                if link is not None and link[0].id not in seen:
                    seen.add(link[0].id)
                    waiting.append(link[0])

    def find_texts(self, start: Node, names: Sequence[str]) -> list[str]:
        """Returns the words of the prompts behind inputs of a node, in their order."""
        found: list[str] = []
        links = [link for name in names if (link := self.get_link(start.inputs.get(name))) is not None]
        waiting, seen = deque(links), set[tuple[str, int]]()
        while waiting:
            node, slot = waiting.popleft()
            if (node.id, slot) in seen or node.kind in EMPTY_CONDITIONINGS:
                continue
            seen.add((node.id, slot))
            followed = self.list_text_links(node, slot)
            texts = [node.inputs[name] for name in TEXT_NAMES if isinstance(node.inputs.get(name), str)]
            if "populated_text" in node.inputs:
                texts, followed = texts[:1], []
            found.extend(text for text in texts if text.strip())
            waiting.extendleft(reversed(followed))
        return found

    def list_text_links(self, node: Node, slot: int) -> list[tuple[Node, int]]:
        """Returns the links to further words. A node with both sides passes each on by its own output."""
        names = [*TEXT_NAMES, *CONDITIONING_NAMES]
        if "positive" in node.inputs and "negative" in node.inputs:
            names.append("negative" if slot == 1 else "positive")
        elif "positive" in node.inputs:
            names.append("positive")
        return [link for name in names if (link := self.get_link(node.inputs.get(name))) is not None]


def is_sampler(node: Node) -> bool:
    """Returns whether a node denoises: by its inputs, since there are many such classes."""
    inputs = node.inputs
    if "sigmas" in inputs and ("guider" in inputs or "sampler" in inputs):
        return True
    return "steps" in inputs and "sampler_name" in inputs and ("latent_image" in inputs or "positive" in inputs)


def read_graph(values: Mapping[str, Any]) -> Graph:
    """Returns the graph of an object; one without nodes for something else."""
    nodes = {}
    for key, value in list(values.items())[:MAX_NODES]:
        match value:
            case {"class_type": str(kind), "inputs": dict(inputs)}:
                nodes[key] = Node(key, kind, inputs)
    return Graph(nodes)


def convert_workflow(workflow: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the graph of ComfyUI's page in the form of the other one, with the nodes whose widgets are known."""
    sources = {}
    for link in workflow.get("links") if isinstance(workflow.get("links"), list) else ():  # type: ignore[union-attr]
        match link:
            case [int(number), source, int(slot), *_] if isinstance(source, int | str):
                sources[number] = [str(source), slot]
    graph: dict[str, Any] = {}
    for node in workflow["nodes"][:MAX_NODES]:
        match node:
            case {"id": int() | str() as key, "type": str(kind)}:
                graph[str(key)] = {
                    "class_type": kind,
                    "inputs": {**read_widgets(kind, node), **read_links(node, sources)},
                }
    return graph


def read_widgets(kind: str, node: Mapping[str, Any]) -> dict[str, Any]:
    values = node.get("widgets_values")
    if isinstance(values, dict):
        return dict(values)
    names = WIDGETS.get(kind, ())
    pairs = zip(names, values if isinstance(values, list) else (), strict=False)
    return {name: value for name, value in pairs if name is not None and not isinstance(value, list)}


def read_links(node: Mapping[str, Any], sources: Mapping[int, list[Any]]) -> dict[str, Any]:
    found = {}
    inputs = node.get("inputs")
    for entry in inputs if isinstance(inputs, list) else ():
        match entry:
            case {"name": str(name), "link": int(number)} if number in sources:
                found[name] = sources[number]
    return found
