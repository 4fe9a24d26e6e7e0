"""What other programs do with the requests of `cases.py`, as their source or their users say. Nothing here was run.

Each fact has the address of the source: a file at a commit, or a report of the error.
"""

from __future__ import annotations

from dataclasses import dataclass

GITHUB = "https://github.com"
WEBUI = f"{GITHUB}/AUTOMATIC1111/stable-diffusion-webui/blob/008a8e7576387bc172f9ecd0384274dd19f9036b"
FORGE_NEO = f"{GITHUB}/Haoming02/sd-webui-forge-classic/blob"
FORGE_SAMPLERS = f"{FORGE_NEO}/7c8f4922e19d576bc894feb4c17d89f8cfc09ac7/modules/sd_samplers.py"
FORGE_PROCESSING = f"{FORGE_NEO}/050733fbabb0bd1184fce589ac03acb2cbd6fbb2/modules/processing.py"
COMFY_EXECUTION = f"{GITHUB}/Comfy-Org/ComfyUI/blob/04e2a914334246661a77665aa14068a0670e3321/execution.py"
COMFY_NODES = f"{GITHUB}/Comfy-Org/ComfyUI/blob/02217e36a45bcbe2dd8fa24187aa5e053d9aea2e/nodes.py"
INVOKE = f"{GITHUB}/invoke-ai/InvokeAI/blob/8e71a8a519399d6db32054ae9afc7c6c4e2355af/invokeai/app/invocations"
SWARM = f"{GITHUB}/mcmonkeyprojects/SwarmUI/blob/062407c7bb488fc76ac61044cb929f0d0a30e60f/src"
SWARM_TYPES, SWARM_API = f"{SWARM}/Text2Image/T2IParamTypes.cs", f"{SWARM}/WebAPI/T2IAPI.cs"
HUGGING_FACE = f"{GITHUB}/huggingface/api-inference-community/blob/2fd0029ce344ab6cc75ead904bfce2d220b054de"
HUGGING_FACE_PIPELINE = f"{HUGGING_FACE}/docker_images/diffusers/app/pipelines/text_to_image.py"
HUGGING_FACE_ROUTES = f"{HUGGING_FACE}/api_inference_community/routes.py"
DIFFUSERS = f"{GITHUB}/huggingface/diffusers/blob/v0.42.1/src/diffusers/pipelines/stable_diffusion"
DIFFUSERS_PIPELINE = f"{DIFFUSERS}/pipeline_stable_diffusion.py"
OPENAI_UNKNOWN_PARAMETER = f"{GITHUB}/vercel/ai/issues/6102"
OPENAI_SIZES = f"{GITHUB}/pollinations/pollinations/issues/5037"
OPENAI_MODELS = f"{GITHUB}/openai/codex/issues/25966"


@dataclass(frozen=True)
class Fact:
    """What a program does. Without a source it is not known."""

    text: str
    source: str | None


NOT_KNOWN = Fact("not known", None)
OPENAI_HAS_NO_FIELD = Fact(
    "400 `unknown_parameter`, which names it: the API has no such field", OPENAI_UNKNOWN_PARAMETER
)

FACTS: dict[str, dict[str, Fact]] = {
    "AUTOMATIC1111's web UI, as Forge Neo": {
        "an unknown sampler": Fact("draws with the first sampler of its list, silently", FORGE_SAMPLERS),
        "an unknown field": Fact("ignored silently", f"{WEBUI}/modules/api/models.py"),
        "an unknown model": Fact("ignored silently: draws with the model that is loaded", FORGE_PROCESSING),
        "no seed": Fact("a random seed, in the answer", FORGE_PROCESSING),
        "the seed -1": Fact("a random seed, in the answer", FORGE_PROCESSING),
        "the seed -2": Fact("used as it is", FORGE_PROCESSING),
        "the seed 2^64": NOT_KNOWN,
        "the size 100x100": Fact("96x96, silently: the latents have an eighth of it, rounded down", FORGE_PROCESSING),
        "the size 4096x4096": Fact("tries it: the API has no limit", f"{WEBUI}/modules/api/models.py"),
        "the size 0x0": NOT_KNOWN,
    },
    "ComfyUI": {
        "an unknown sampler": Fact("`value_not_in_list`, which names the input", COMFY_EXECUTION),
        "an unknown field": Fact("ignored silently", COMFY_EXECUTION),
        "an unknown model": Fact("`value_not_in_list`, which names the input", COMFY_EXECUTION),
        "no seed": Fact("`required_input_missing`, which names the input", COMFY_EXECUTION),
        "the seed -1": Fact("`value_smaller_than_min`, which names the input", COMFY_NODES),
        "the seed -2": Fact("`value_smaller_than_min`, which names the input", COMFY_NODES),
        "the seed 2^64": Fact("`value_bigger_than_max`, which names the input", COMFY_NODES),
        "the size 100x100": Fact("96x96, silently: the latents have an eighth of it, rounded down", COMFY_NODES),
        "the size 4096x4096": Fact("tries it, up to a limit that is the same for every model", COMFY_NODES),
        "the size 0x0": Fact("`value_smaller_than_min`, which names the input", COMFY_NODES),
    },
    "InvokeAI": {
        "an unknown sampler": Fact("refused: a fixed list", f"{INVOKE}/denoise_latents.py"),
        "an unknown field": Fact("ignored silently: the nodes allow more", f"{INVOKE}/baseinvocation.py"),
        "an unknown model": Fact('accepted; the job fails with "Unknown model"', f"{INVOKE}/model.py"),
        "no seed": Fact("the seed 0, each time", f"{INVOKE}/noise.py"),
        "the seed -1": Fact("4294967295, silently: the remainder of 2^32", f"{INVOKE}/noise.py"),
        "the seed -2": Fact("4294967294, silently: the remainder of 2^32", f"{INVOKE}/noise.py"),
        "the seed 2^64": Fact("0, silently: the remainder of 2^32", f"{INVOKE}/noise.py"),
        "the size 100x100": Fact("refused: a multiple of 8", f"{INVOKE}/noise.py"),
        "the size 4096x4096": Fact("tries it: there is no limit", f"{INVOKE}/noise.py"),
        "the size 0x0": Fact("refused: greater than 0", f"{INVOKE}/noise.py"),
    },
    "SwarmUI": {
        "an unknown sampler": Fact(
            "refused with the list, unless the text is part of a sampler's name: then that one, silently", SWARM_TYPES
        ),
        "an unknown field": Fact("ignored; says so in its own log only", SWARM_API),
        "an unknown model": Fact(
            "refused by name, unless the text is part of a model's name: then that one, silently", SWARM_TYPES
        ),
        "no seed": Fact("a random seed", SWARM_TYPES),
        "the seed -1": Fact("a random seed", SWARM_TYPES),
        "the seed -2": Fact("refused by name: at least -1", SWARM_TYPES),
        "the seed 2^64": Fact("refused by name: up to 2^63 - 1", SWARM_TYPES),
        "the size 100x100": Fact("accepted: any number from 64 to 16384", SWARM_TYPES),
        "the size 4096x4096": Fact("tries it: any number from 64 to 16384", SWARM_TYPES),
        "the size 0x0": Fact("refused by name: at least 64", SWARM_TYPES),
    },
    "OpenAI": {
        "an unknown sampler": OPENAI_HAS_NO_FIELD,
        "an unknown field": Fact("400 `unknown_parameter`, which names it", OPENAI_UNKNOWN_PARAMETER),
        "an unknown model": Fact("400 `invalid_value`, in the Responses API", OPENAI_MODELS),
        "no seed": Fact("a picture that cannot be made again: the API has no seed", OPENAI_UNKNOWN_PARAMETER),
        "the seed -1": OPENAI_HAS_NO_FIELD,
        "the seed -2": OPENAI_HAS_NO_FIELD,
        "the seed 2^64": OPENAI_HAS_NO_FIELD,
        "the size 100x100": Fact("refused with the list, by `gpt-image-1`", OPENAI_SIZES),
        "the size 4096x4096": Fact("refused with the list, by `gpt-image-1`", OPENAI_SIZES),
        "the size 0x0": Fact("refused with the list, by `gpt-image-1`", OPENAI_SIZES),
    },
    "Hugging Face's inference server": {
        "an unknown sampler": Fact("draws with the default; says so in its own log only", HUGGING_FACE_PIPELINE),
        "an unknown field": Fact("400 with the text of Python's TypeError", HUGGING_FACE_ROUTES),
        "an unknown model": NOT_KNOWN,
        "no seed": Fact("a random seed, which no answer names", HUGGING_FACE_PIPELINE),
        "the seed -1": Fact("the seed 2^64 - 1, silently: it goes to torch", HUGGING_FACE_PIPELINE),
        "the seed -2": Fact("the seed 2^64 - 2, silently: it goes to torch", HUGGING_FACE_PIPELINE),
        "the seed 2^64": Fact("an error with torch's text, which names no field", HUGGING_FACE_ROUTES),
        "the size 100x100": Fact("400 with a sentence: divisible by 8", DIFFUSERS_PIPELINE),
        "the size 4096x4096": Fact("tries it: there is no limit", HUGGING_FACE_PIPELINE),
        "the size 0x0": Fact("the model's own size, silently", DIFFUSERS_PIPELINE),
    },
}
