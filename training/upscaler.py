"""The upscaler: a Compact network that makes pictures four times as large, without blur, noise and JPEG blocks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from imagegen.engine.upscaling.networks import CompactNetwork
from training.dataset import Pixels
from training.degradation import degrade
from training.loop import TrainingSchedule, run_training
from training.machine import Machine
from training.recipe import Recipe
from training.upscaler_pictures import SourcePictures, load_source_pictures

SCALE = 4
# Green, red and blue.
SWAPPED_CHANNELS = [1, 0, 2]
# Keeps the solution of a linear system small where the data do not decide it.
RIDGE = 1e-6
# Errors below this are small.
SMOOTHNESS = 0.05
# The slope with which torch's PReLU begins.
PRELU_SLOPE = 0.25
# Pixels of a side of the crops that the network sees.
CROP = 32
# The shares of crops from drawings, and of those that the embedded model's autoencoder has softened.
DRAWING_SHARE, SOFT_SHARE = 0.5, 0.15
# Drawings of which the autoencoder's version is kept, and the share of a plain background behind emoji.
SOFT_DRAWINGS, PLAIN_SHARE = 200, 0.7
# The share of crops that become negatives.
INVERTED_SHARE = 0.5


def train_upscaler(recipe: Recipe, model: Path, file: Path, machine: Machine) -> None:
    """Trains the upscaler and writes its weights to `file`. `model` is the folder of the embedded model."""
    pictures = load_source_pictures(recipe, machine)
    soft = load_softened(recipe, model, pictures.drawings)
    network = create_network(recipe).to(machine.device)
    compiled = machine.compile(network)

    def compute_loss(step: int) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        rng = np.random.default_rng((1, step))
        small, large = sample_crops(pictures, soft, recipe.upscaler_batch, rng)
        inputs, target = to_unit_tensor(small, machine.device), to_unit_tensor(large, machine.device)
        with machine.autocast():
            output = compiled(inputs)
        output = output.float()
        loss = smooth_error(output, target)
        return loss, {"dB": -10 * torch.log10((output.detach() - target).square().mean())}

    schedule = TrainingSchedule("upscaler", recipe.upscaler_steps, peak=1e-3, weight_decay=0.0)
    run_training(schedule, [network], compute_loss, recipe.work / "upscaler.pt", machine)
    widened = widen(network.cpu())
    refit_last_layer(widened, pictures, soft, recipe)
    save_upscaler(widened, file)


@torch.no_grad()
def widen(network: CompactNetwork) -> CompactNetwork:
    """Returns a network with the features of this one, and of a copy for which red and green are swapped.

    A short training can leave one colour behind, and the copy sees that colour as well as this one sees the other. The
    last layer is to be fitted.
    """
    layers = [layer for layer in network.body if isinstance(layer, nn.Conv2d)]
    wide = CompactNetwork(SCALE, 2 * layers[0].out_channels, len(layers) - 2)
    for layer, wide_layer in zip(network.body, wide.body, strict=True):
        if isinstance(layer, nn.PReLU) and isinstance(wide_layer, nn.PReLU):
            wide_layer.weight.copy_(layer.weight.repeat(2))
        if isinstance(layer, nn.Conv2d) and isinstance(wide_layer, nn.Conv2d) and layer is not layers[-1]:
            assert layer.bias is not None and wide_layer.bias is not None
            wide_layer.bias.copy_(layer.bias.repeat(2))
            if layer is layers[0]:
                wide_layer.weight.copy_(torch.cat([layer.weight, layer.weight[:, SWAPPED_CHANNELS]]))
            else:
                count = layer.out_channels
                wide_layer.weight.zero_()
                wide_layer.weight[:count, :count] = wide_layer.weight[count:, count:] = layer.weight
    return wide


@torch.no_grad()
def refit_last_layer(network: CompactNetwork, pictures: SourcePictures, soft: Pixels, recipe: Recipe) -> None:
    """Solves for the last layer with the least squared error. Gradient descent can leave one colour behind."""
    *body, last = network.body
    assert isinstance(last, nn.Conv2d) and last.bias is not None
    inputs = last.in_channels * 9 + 1
    gram, moments = torch.zeros(inputs, inputs).double(), torch.zeros(inputs, last.out_channels).double()
    for step in range(recipe.upscaler_refit_batches):
        small, large = sample_crops(pictures, soft, recipe.upscaler_batch, np.random.default_rng((3, step)))
        pixels, target = to_unit_tensor(small), to_unit_tensor(large)
        details = F.pixel_unshuffle(target - F.interpolate(pixels, scale_factor=SCALE), SCALE)
        features = pixels
        for layer in body:
            features = layer(features)
        rows = F.pad(F.unfold(features, 3, padding=1), (0, 0, 0, 1), value=1).transpose(1, 2).flatten(0, 1)
        gram += (rows.T @ rows).double()
        moments += (rows.T @ details.flatten(2).transpose(1, 2).flatten(0, 1)).double()
    gram += RIDGE * gram.diagonal().mean() * torch.eye(inputs)
    solution = torch.linalg.solve(gram, moments).T.float()
    last.weight.copy_(solution[:, :-1].reshape(last.weight.shape))
    last.bias.copy_(solution[:, -1])


def smooth_error(output: Tensor, target: Tensor) -> Tensor:
    """Returns the mean error, squared where it is small and absolute where it is large.

    The absolute error alone leaves the network at the nearest pixels: most of a drawing is plain, and there any detail
    is wrong.
    """
    return ((output - target).square() + SMOOTHNESS**2).sqrt().mean() - SMOOTHNESS


def create_network(recipe: Recipe) -> CompactNetwork:
    network = CompactNetwork(SCALE, recipe.upscaler_features, recipe.upscaler_blocks)
    layers = [module for module in network.body if isinstance(module, nn.Conv2d)]
    for layer in layers:
        # With torch's own initialization, the signal of so many layers would vanish.
        nn.init.kaiming_normal_(layer.weight, a=PRELU_SLOPE)
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)
    # It begins near the nearest pixels of its input.
    layers[-1].weight.data.mul_(0.03)
    return network


def save_upscaler(network: nn.Module, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.half().contiguous() for name, tensor in network.state_dict().items()}
    save_file(weights, file, metadata={"modelspec.license": "Apache-2.0", "modelspec.title": "Studio x4"})


@torch.no_grad()
def load_softened(recipe: Recipe, model: Path, drawings: Pixels) -> Pixels:
    """Returns small versions of the first drawings, as the autoencoder decodes them, like pictures of the model.

    uint8 of shape (n, side / 4, side / 4, 3).
    """
    count, side = min(SOFT_DRAWINGS, len(drawings)), drawings.shape[1] // SCALE
    path = recipe.work / f"softened-{count}-{side}.npy"
    if not path.exists():
        autoencoder = AutoencoderTiny.from_pretrained(model / "vae")
        softened = np.empty((count, side, side, 3), np.uint8)
        rng = np.random.default_rng(0)
        for place in range(count):
            small = to_unit_tensor(degrade(drawings[place], SCALE, rng, is_clean=True)[None])
            decoded = autoencoder.decode(autoencoder.encode(small * 2 - 1).latents).sample[0]
            softened[place] = ((decoded / 2 + 0.5).clamp(0, 1) * 255).round().permute(1, 2, 0).byte().numpy()
        np.save(path, softened)
    stored: Pixels = np.load(path)
    return stored


def sample_crops(pictures: SourcePictures, soft: Pixels, count: int, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """Returns crops of CROP pixels a side, and the same crops four times as large."""
    pairs = [sample_crop(pictures, soft, rng) for _ in range(count)]
    ways = rng.integers(8, size=count)
    turned = [(turn(small, way), turn(large, way)) for (small, large), way in zip(pairs, ways, strict=True)]
    colours = [(rng.permutation(3), rng.random() < INVERTED_SHARE) for _ in range(count)]
    recoloured = [
        (recolour(small, *change), recolour(large, *change))
        for (small, large), change in zip(turned, colours, strict=True)
    ]
    return np.stack([small for small, _ in recoloured]), np.stack([large for _, large in recoloured])


def sample_crop(pictures: SourcePictures, soft: Pixels, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    kind = rng.random()
    if kind < SOFT_SHARE:
        place = int(rng.integers(len(soft)))
        top, left = rng.integers(soft.shape[1] - CROP + 1, size=2)
        small = soft[place, top : top + CROP, left : left + CROP]
        return small, crop_large(pictures.drawings[place], top * SCALE, left * SCALE)
    drawings, emoji = pictures.drawings, pictures.emoji
    source = drawings if kind < SOFT_SHARE + DRAWING_SHARE else emoji
    picture = source[int(rng.integers(len(source)))]
    top, left = rng.integers(picture.shape[0] - CROP * SCALE + 1, size=2)
    large = crop_large(picture, top, left)
    if large.shape[2] == 4:
        large = place_on_background(large, rng)
    return degrade(large, SCALE, rng), large


def crop_large(picture: Pixels, top: int, left: int) -> Pixels:
    return picture[top : top + CROP * SCALE, left : left + CROP * SCALE]


def place_on_background(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Returns a picture with alpha over a colour, or over a gradient of two: uint8 of shape (height, width, 3)."""
    start, end = rng.uniform(0, 255, (2, 3))
    share = np.linspace(0, 1, pixels.shape[1])[None, :, None] if rng.random() > PLAIN_SHARE else 0.0
    background = start + (end - start) * share
    alpha = pixels[..., 3:].astype(np.float32) / 255
    mixed: Pixels = np.round(pixels[..., :3] * alpha + background * (1 - alpha)).astype(np.uint8)
    return mixed


def turn(pixels: Pixels, number: int) -> Pixels:
    """Returns the picture turned or mirrored in one of eight ways."""
    turned: Pixels = np.rot90(pixels, number % 4)
    return turned[:, ::-1] if number >= 4 else turned


def recolour(pixels: Pixels, channels: NDArray[np.int64], is_inverted: bool) -> Pixels:
    """Returns the picture with its channels in another order, perhaps as a negative: each colour meets each other."""
    changed: Pixels = pixels[..., channels]
    return 255 - changed if is_inverted else changed


def to_unit_tensor(pixels: Pixels, device: torch.device | None = None) -> Tensor:
    """Converts uint8 pictures of shape (n, h, w, 3) to float32 of shape (n, 3, h, w) in 0..1."""
    tensor = torch.from_numpy(np.array(pixels)).to(device).permute(0, 3, 1, 2)
    return tensor.float().div(255).contiguous(memory_format=torch.channels_last)
