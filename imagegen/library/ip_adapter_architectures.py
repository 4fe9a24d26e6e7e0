"""The architectures of IP-Adapters: recognized from the names and shapes of a file's tensors, without torch.

The format is that of https://github.com/tencent-ailab/IP-Adapter: the tensors of a projection, which makes tokens of a
picture's embedding, and keys and values for each cross-attention of a UNet. Those for FLUX.1 have the format of
https://github.com/XLabs-AI/x-flux, with keys and values for each block of two streams.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from imagegen.library.architectures import get_unet_architecture
from imagegen.library.family_facts import FLUX, STABLE_DIFFUSION_XL
from imagegen.library.weight_files import SafetensorsHeader
from imagegen.text import truncate

Shapes = Mapping[str, tuple[int, ...]]

PROJECTION_PREFIX = "image_proj."
ATTENTION_PATTERN = re.compile(r"ip_adapter\.(\d+)\.to_(k|v)_ip\.weight")
FLUX_PROJECTION_PREFIX = "ip_adapter_proj_model."
FLUX_ATTENTION_PATTERN = re.compile(
    r"double_blocks\.(\d+)\.processor\.ip_adapter_double_stream_(k|v)_proj\.(weight|bias)"
)
# The tokens that an attention looks at for each reference picture; those of an IP-Adapter with fewer are repeated.
MAX_TOKENS = 16
# The tokens of an IP-Adapter that is not "plus".
PLAIN_TOKENS = 4
PLAIN_NAMES = frozenset({"proj.weight", "proj.bias", "norm.weight", "norm.bias"})
PLUS_MARK = "latents"
PLUS_LAYERS = 4
PLUS_NAMES = frozenset(
    {
        *("latents", "proj_in.weight", "proj_in.bias", "proj_out.weight", "proj_out.bias"),
        *("norm_out.weight", "norm_out.bias"),
        *(
            f"layers.{layer}.{part}"
            for layer in range(PLUS_LAYERS)
            for part in (
                *("0.norm1.weight", "0.norm1.bias", "0.norm2.weight", "0.norm2.bias"),
                *("0.to_q.weight", "0.to_kv.weight", "0.to_out.weight"),
                *("1.0.weight", "1.0.bias", "1.1.weight", "1.3.weight"),
            )
        ),
    }
)
# Parts of tensor names that only one kind of IP-Adapter has, with what the studio calls it.
UNSUPPORTED_NETWORKS = (
    ("perceiver_resampler.", "an IP-Adapter for faces (FaceID Plus)"),
    ("_lora.", "an IP-Adapter for faces (FaceID)"),
    ("image_proj.proj.3.", "an IP-Adapter for whole faces (full face)"),
    ("image_proj.proj.2.", "an IP-Adapter for FLUX.1 in the format of InstantX"),
)
# What of the image encoder an IP-Adapter gets: its "projection", or its last "hidden" states but one.
EncoderOutput = Literal["projection", "hidden"]
# What IP-Adapters for Kolors get, of CLIP ViT-L, and its width. Kolors has the UNet of Stable Diffusion XL, whose own
# IP-Adapters get 1280 numbers, of CLIP ViT-H.
KOLORS_ENCODER: tuple[EncoderOutput, int] = ("hidden", 1024)


class UnknownIpAdapter(ValueError):
    """The tensors are not those of an IP-Adapter that the studio can use. The message is about the file."""


@dataclass(frozen=True)
class IpAdapterFacts:
    """What the tensors of an IP-Adapter say.

    `architecture` is that of the models that it is for. `encoder_output` is what it needs of an image encoder, and
    `encoder_width` the width of that. It makes `tokens` of a picture.
    """

    architecture: str
    encoder_output: EncoderOutput
    encoder_width: int
    tokens: int


def detect_ip_adapter(header: SafetensorsHeader) -> IpAdapterFacts:
    """Returns what the tensors of a file say. Raises UnknownIpAdapter."""
    shapes = header.shapes
    for mark, name in UNSUPPORTED_NETWORKS:
        if any(mark in each for each in shapes):
            raise UnknownIpAdapter(f"it is {name}, which is not supported yet")
    if any(map(FLUX_ATTENTION_PATTERN.fullmatch, shapes)):
        return detect_flux_ip_adapter(shapes)
    text_width = check_attention(shapes)
    projection = {
        name.removeprefix(PROJECTION_PREFIX): shape
        for name, shape in shapes.items()
        if not ATTENTION_PATTERN.fullmatch(name)
    }
    is_plus = PLUS_MARK in projection
    check_names(projection, PLUS_NAMES if is_plus else PLAIN_NAMES)
    facts = read_plus_facts(projection) if is_plus else read_plain_facts(projection, text_width)
    check_tokens(facts)
    if (
        facts.architecture == STABLE_DIFFUSION_XL.architecture
        and (facts.encoder_output, facts.encoder_width) == KOLORS_ENCODER
    ):
        raise UnknownIpAdapter("it is an IP-Adapter for Kolors, which is not supported yet")
    return facts


def detect_flux_ip_adapter(shapes: Shapes) -> IpAdapterFacts:
    """Returns what the tensors of an IP-Adapter for FLUX.1 say. Raises UnknownIpAdapter."""
    text_width = check_flux_attention(shapes)
    projection = {
        name.removeprefix(FLUX_PROJECTION_PREFIX): shape
        for name, shape in shapes.items()
        if not FLUX_ATTENTION_PATTERN.fullmatch(name)
    }
    check_names(projection, PLAIN_NAMES, FLUX_PROJECTION_PREFIX)
    outputs, width = projection["proj.weight"]
    if outputs % text_width:
        raise UnknownIpAdapter(f"its {FLUX_PROJECTION_PREFIX}proj.weight does not fit its keys and values")
    facts = IpAdapterFacts(FLUX.architecture, "projection", width, outputs // text_width)
    check_tokens(facts)
    return facts


def check_flux_attention(shapes: Shapes) -> int:
    """Returns the width of the text embeddings of models that an IP-Adapter is for.

    Raises UnknownIpAdapter for keys and values that are not those of each block.
    """
    found = [match for match in map(FLUX_ATTENTION_PATTERN.fullmatch, shapes) if match is not None]
    blocks = [
        {int(match[1]) for match in found if match.groups()[1:] == (part, tensor)}
        for part in "kv"
        for tensor in ("weight", "bias")
    ]
    if any(each != set(range(len(blocks[0]))) for each in blocks):
        raise UnknownIpAdapter("its keys and values are not those of each block")
    widths = {shapes[match[0]][-1] for match in found if match[3] == "weight"}
    if len(widths) > 1:
        raise UnknownIpAdapter("its keys and values are for text embeddings of several widths")
    return widths.pop()


def check_tokens(facts: IpAdapterFacts) -> None:
    if MAX_TOKENS % facts.tokens:
        raise UnknownIpAdapter(f"it makes {facts.tokens} tokens of a picture, and 1, 2, 4, 8 and 16 are supported")


def check_attention(shapes: Shapes) -> int:
    """Returns the width of the text embeddings of models that an IP-Adapter is for.

    Raises UnknownIpAdapter for a file without keys and values, and for keys and values that are incomplete.
    """
    found = [match for match in map(ATTENTION_PATTERN.fullmatch, shapes) if match is not None]
    layers = [{int(match[1]) for match in found if match[2] == part} for part in ("k", "v")]
    if not found:
        raise UnknownIpAdapter("it contains no IP-Adapter")
    # Odd numbers are cross-attentions, and the even ones between them self-attentions.
    if any(each != set(range(1, 2 * len(each), 2)) for each in layers) or layers[0] != layers[1]:
        raise UnknownIpAdapter("its keys and values are not those of each cross-attention")
    widths = {shapes[match[0]][-1] for match in found}
    if len(widths) > 1:
        raise UnknownIpAdapter("its keys and values are for text embeddings of several widths")
    return widths.pop()


def check_names(projection: Shapes, expected: frozenset[str], prefix: str = PROJECTION_PREFIX) -> None:
    """Raises UnknownIpAdapter for a tensor too many or too few."""
    unknown = next((name for name in projection if name not in expected), None)
    if unknown is not None:
        raise UnknownIpAdapter(f"its tensor {truncate(unknown)} has no place in an IP-Adapter")
    missing = min(expected - projection.keys(), default=None)
    if missing is not None:
        raise UnknownIpAdapter(f"it has no tensor {prefix}{missing}")


def read_plain_facts(projection: Shapes, text_width: int) -> IpAdapterFacts:
    outputs, width = projection["proj.weight"]
    if outputs != PLAIN_TOKENS * text_width:
        raise UnknownIpAdapter(f"its {PROJECTION_PREFIX}proj.weight does not fit its keys and values")
    return IpAdapterFacts(get_unet_architecture(text_width), "projection", width, PLAIN_TOKENS)


def read_plus_facts(projection: Shapes) -> IpAdapterFacts:
    text_width, tokens = projection["proj_out.weight"][0], projection["latents"][1]
    return IpAdapterFacts(get_unet_architecture(text_width), "hidden", projection["proj_in.weight"][1], tokens)
