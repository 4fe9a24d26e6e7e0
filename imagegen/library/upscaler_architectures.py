"""The architectures of upscalers: recognized from the tensors of a file, without torch.

Each tensor of a file must have its place in the network. Otherwise the network would not be the one that was trained.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]

# The parts of a residual dense block, of which a block of the network has three.
DENSE_BLOCKS = (1, 2, 3)
DENSE_LAYERS = (1, 2, 3, 4, 5)
# How many pixels of a side become channels, by the channels of the first layer.
UNSHUFFLE_BY_CHANNELS = {3: 1, 12: 2, 48: 4}
# Networks beyond these would be no upscalers, or take the memory of the machine.
MAX_FEATURES, MAX_BLOCKS, MAX_DOUBLINGS, MAX_COMPACT_SCALE = 256, 64, 3, 8


class UnknownUpscaler(ValueError):
    """The tensors are not those of an architecture that the studio has. The message is about the file."""


@dataclass(frozen=True)
class UpscalerArchitecture:
    """A network that makes a picture `scale` times as large.

    `features` is the number of channels of its layers, `blocks` that of its blocks (of its inner layers, for
    "Compact"). "ESRGAN" also has the channels that each dense layer adds (`growth`), turns squares of `unshuffle`
    pixels a side into channels first, and doubles the sides `doublings` times. `names` are the names of tensors in the
    file by the names in the network.
    """

    name: Literal["ESRGAN", "Compact"]
    scale: int
    features: int
    blocks: int
    names: Mapping[str, str]
    growth: int = 0
    unshuffle: int = 1
    doublings: int = 0

    @property
    def radius(self) -> int:
        """How many pixels of the input around a pixel decide what becomes of it."""
        if self.name == "Compact":
            return self.blocks + 2
        layers_before = 2 + self.blocks * len(DENSE_BLOCKS) * len(DENSE_LAYERS)
        doubled_layers = sum(0.5**number for number in range(1, self.doublings + 1))
        return self.unshuffle * math.ceil(layers_before + doubled_layers + 2 * 0.5**self.doublings)


def detect_upscaler_architecture(shapes: Shapes) -> UpscalerArchitecture:
    """Returns the architecture of a file with tensors of these shapes. Raises UnknownUpscaler."""
    try:
        architecture = detect_compact(shapes) if "body.0.weight" in shapes else detect_esrgan(shapes)
    except (LookupError, ValueError) as error:
        if isinstance(error, UnknownUpscaler):
            raise
        raise UnknownUpscaler("its tensors are neither those of an ESRGAN nor those of a Compact network") from None
    check_tensors(shapes, architecture)
    return architecture


def detect_compact(shapes: Shapes) -> UpscalerArchitecture:
    """Recognizes SRVGGNetCompact of Real-ESRGAN, with PReLU.

    https://github.com/xinntao/Real-ESRGAN/blob/master/realesrgan/archs/srvgg_arch.py
    """
    last = max(int(name.split(".")[1]) for name in shapes)
    features, outputs = shapes["body.0.weight"][0], shapes[f"body.{last}.weight"][0]
    scale = math.isqrt(outputs // 3)
    if not (0 < features <= MAX_FEATURES and 0 < scale <= MAX_COMPACT_SCALE and 2 <= last <= 2 * MAX_BLOCKS + 2):
        raise UnknownUpscaler("its layers are of a size that no Compact network has")
    if "body.1.weight" not in shapes:
        raise UnknownUpscaler("it is a Compact network without PReLU, and nothing says which activation it has")
    blocks = last // 2 - 1
    architecture = UpscalerArchitecture("Compact", scale, features, blocks, {})
    return named(architecture, {name: name for name, _ in list_tensors(architecture)})


def detect_esrgan(shapes: Shapes) -> UpscalerArchitecture:
    """Recognizes RRDBNet, in the layouts of its three published implementations.

    https://github.com/XPixelGroup/BasicSR/blob/master/basicsr/archs/rrdbnet_arch.py (`conv_first`),
    https://github.com/xinntao/ESRGAN (`RRDB_trunk`, and `model.1.sub` of its first version).
    """
    layout = next((make for mark, make in ESRGAN_LAYOUTS.items() if mark in shapes), None)
    if layout is None:
        raise UnknownUpscaler("its tensors are neither those of an ESRGAN nor those of a Compact network")
    rename = layout(shapes)
    blocks = count_blocks(shapes)
    doublings = count_doublings(shapes)
    first = shapes[rename("conv_first.weight")]
    growth = shapes[rename("body.0.rdb1.conv1.weight")][0]
    if first[1] not in UNSHUFFLE_BY_CHANNELS:
        raise UnknownUpscaler(f"its first layer takes {first[1]} channels; it can take 3, 12 or 48")
    unshuffle = UNSHUFFLE_BY_CHANNELS[first[1]]
    if not (0 < max(first[0], growth) <= MAX_FEATURES and 0 < blocks <= MAX_BLOCKS and doublings <= MAX_DOUBLINGS):
        raise UnknownUpscaler("its layers are of a size that no ESRGAN has")
    if 2**doublings < unshuffle:
        raise UnknownUpscaler("it makes pictures smaller")
    architecture = UpscalerArchitecture(
        "ESRGAN", 2**doublings // unshuffle, first[0], blocks, {}, growth, unshuffle, doublings
    )
    return named(architecture, {name: rename(name) for name, _ in list_tensors(architecture)})


class NewLayout:
    """The names of BasicSR, which are those of the network here."""

    def __init__(self, shapes: Shapes) -> None:
        pass

    def __call__(self, name: str) -> str:
        return name


class TrunkLayout:
    """The names of ESRGAN's second version."""

    LAYERS: Mapping[str, str] = {
        "conv_body": "trunk_conv",
        "conv_up1": "upconv1",
        "conv_up2": "upconv2",
        "conv_up3": "upconv3",
        "conv_hr": "HRconv",
    }

    def __init__(self, shapes: Shapes) -> None:
        pass

    def __call__(self, name: str) -> str:
        layer, _, rest = name.partition(".")
        if layer == "body":
            return f"RRDB_trunk.{rest.replace('rdb', 'RDB')}"
        return f"{self.LAYERS.get(layer, layer)}.{rest}"


class NumberedLayout:
    """The names of ESRGAN's first version, a sequence: each doubling has a layer of its own number."""

    def __init__(self, shapes: Shapes) -> None:
        self.blocks, doublings = count_blocks(shapes), count_doublings(shapes)
        # An upsampling, a layer and an activation for each doubling, and then a layer, an activation and a layer.
        after = 2 + 3 * doublings
        self.layers = {"conv_first": "0", "conv_hr": str(after), "conv_last": str(after + 2)}
        self.layers |= {f"conv_up{number}": str(3 * number) for number in range(1, doublings + 1)}
        self.layers["conv_body"] = f"1.sub.{self.blocks}"

    def __call__(self, name: str) -> str:
        layer, _, rest = name.partition(".")
        if layer == "body":
            block, dense_block, dense_layer, kind = rest.split(".")
            return f"model.1.sub.{block}.{dense_block.upper()}.{dense_layer}.0.{kind}"
        return f"model.{self.layers[layer]}.{rest}"


# By the name of a tensor that only this layout has. A layout translates the names in the network.
ESRGAN_LAYOUTS: Mapping[str, Callable[[Shapes], Callable[[str], str]]] = {
    "body.0.rdb1.conv1.weight": NewLayout,
    "RRDB_trunk.0.RDB1.conv1.weight": TrunkLayout,
    "model.1.sub.0.RDB1.conv1.0.weight": NumberedLayout,
}
BLOCK_PATTERN = re.compile(r"(?:body|RRDB_trunk|model\.1\.sub)\.(\d+)\.(?:rdb|RDB)1\.")
DOUBLING_PATTERN = re.compile(r"(?:conv_up|upconv)(\d)\.weight")
NUMBERED_PATTERN = re.compile(r"model\.(\d+)\.weight")


def count_blocks(shapes: Shapes) -> int:
    return len({found[1] for name in shapes if (found := BLOCK_PATTERN.match(name))})


def count_doublings(shapes: Shapes) -> int:
    named_layers = [name for name in shapes if DOUBLING_PATTERN.fullmatch(name)]
    numbered_layers = [name for name in shapes if NUMBERED_PATTERN.fullmatch(name)]
    # Three of the numbered layers are the first and the last two.
    return len(numbered_layers) - 3 if numbered_layers else len(named_layers)


def named(architecture: UpscalerArchitecture, names: Mapping[str, str]) -> UpscalerArchitecture:
    return UpscalerArchitecture(**{**vars(architecture), "names": names})


def list_tensors(architecture: UpscalerArchitecture) -> Iterator[tuple[str, Shape]]:
    """Yields the name and the shape of each tensor of the network."""
    return list_compact_tensors(architecture) if architecture.name == "Compact" else list_esrgan_tensors(architecture)


def list_compact_tensors(architecture: UpscalerArchitecture) -> Iterator[tuple[str, Shape]]:
    features, last = architecture.features, 2 * architecture.blocks + 2
    yield from list_layer("body.0", 3, features)
    for number in range(1, last, 2):
        yield f"body.{number}.weight", (features,)
        outputs = 3 * architecture.scale**2 if number + 1 == last else features
        yield from list_layer(f"body.{number + 1}", features, outputs)


def list_esrgan_tensors(architecture: UpscalerArchitecture) -> Iterator[tuple[str, Shape]]:
    features, growth = architecture.features, architecture.growth
    yield from list_layer("conv_first", 3 * architecture.unshuffle**2, features)
    for block in range(architecture.blocks):
        for dense_block in DENSE_BLOCKS:
            for number in DENSE_LAYERS:
                outputs = growth if number < len(DENSE_LAYERS) else features
                name = f"body.{block}.rdb{dense_block}.conv{number}"
                yield from list_layer(name, features + (number - 1) * growth, outputs)
    doubling_layers = [f"conv_up{number}" for number in range(1, architecture.doublings + 1)]
    for name in ("conv_body", *doubling_layers, "conv_hr"):
        yield from list_layer(name, features, features)
    yield from list_layer("conv_last", features, 3)


def list_layer(name: str, inputs: int, outputs: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (outputs, inputs, 3, 3)
    yield f"{name}.bias", (outputs,)


def check_tensors(shapes: Shapes, architecture: UpscalerArchitecture) -> None:
    """Raises UnknownUpscaler unless the file has exactly the tensors of the network."""
    expected = {architecture.names[name]: shape for name, shape in list_tensors(architecture)}
    for name, shape in shapes.items():
        if name not in expected:
            raise UnknownUpscaler(f"its tensor {name[:80]} has no place in a network of the kind {architecture.name}")
        if shape != expected[name]:
            sides = " x ".join(map(str, shape))
            raise UnknownUpscaler(f"its tensor {name[:80]} is {sides}, and no network of its kind has that")
    missing = next((name for name in expected if name not in shapes), None)
    if missing is not None:
        raise UnknownUpscaler(f"it has no tensor {missing}")
