"""A ControlNet that begins with what the denoiser knows.

`ControlNetModel.from_unet` cannot make it: the time embedding of a ControlNet is always four times as wide as its first
level, 256, and that of the embedded model's denoiser is 384 wide.
"""

from __future__ import annotations

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from diffusers.models.controlnets.controlnet import ControlNetConditioningEmbedding
from torch import Tensor, nn
from torch.nn import functional as F

from training.warm_start import copy_matching_weights

# The options of a UNet that a ControlNet has as well.
SHARED_OPTIONS = (
    "in_channels", "flip_sin_to_cos", "freq_shift", "down_block_types", "mid_block_type", "only_cross_attention",
    "block_out_channels", "layers_per_block", "downsample_padding", "mid_block_scale_factor", "act_fn",
    "norm_num_groups", "norm_eps", "cross_attention_dim", "transformer_layers_per_block", "attention_head_dim",
    "use_linear_projection", "upcast_attention", "resnet_time_scale_shift", "addition_embed_type",
    "addition_embed_type_num_heads",
)  # fmt: skip
# Channels of the layers that reduce the map to the size of the latents; the first have the size of the picture.
MAP_CHANNELS = (8, 24, 64, 128)
# The deviation of what they add to the first features of the latents, which have one of about 1.
MAP_SHARE = 0.5
TIME_PROJECTION = "time_emb_proj"
# Points for the least squares, and in a step of the distillation.
LEAST_SQUARES_POINTS, POINTS = 8192, 512
FIT_RATE = 2e-3


def new_controlnet(unet: UNet2DConditionModel, maps: Tensor) -> ControlNetModel:
    """Returns a ControlNet that has no effect yet. Its encoder has the weights of the UNet's, except for the time
    embedding, which `TimeEmbeddingFit` fits. `maps` are some maps, of shape (N, 3, h, w).
    """
    options = {name: unet.config[name] for name in SHARED_OPTIONS}
    controlnet = ControlNetModel(**options, conditioning_embedding_out_channels=MAP_CHANNELS)
    scale_map_layers(controlnet.controlnet_cond_embedding, maps)
    copy_matching_weights(controlnet, unet.state_dict())
    return controlnet


@torch.no_grad()
def scale_map_layers(layers: ControlNetConditioningEmbedding, maps: Tensor) -> None:
    """Scales random weights of each layer that sees the map, so that its outputs for these maps have a deviation of 1
    (Mishkin and Matas, All You Need Is a Good Init, 2015), and MAP_SHARE after the last.

    With torch's own initialization, a map would vanish on its way. diffusers begins with zeros in the last of these
    layers; the layers at the end of a ControlNet are zero too, and learn faster from a map that they see.
    """
    sequence, values = [layers.conv_in, *layers.blocks, layers.conv_out], maps
    for layer in sequence:
        nn.init.kaiming_normal_(layer.weight)
        nn.init.zeros_(layer.bias)
        layer.weight /= layer(values).std()
        values = F.silu(layer(values))
    sequence[-1].weight *= MAP_SHARE


class TimeEmbeddingFit:
    """Fits the time embedding of a ControlNet, and what its blocks make of it, to the UNet's.

    Points are time steps with pooled words. The output of a point is what all residual blocks of the encoder add and
    multiply because of it.
    """

    def __init__(self, controlnet: ControlNetModel, unet: UNet2DConditionModel, words: Tensor) -> None:
        """`words` are outputs of the text encoder for some captions: shape (N, 77, width)."""
        self.controlnet, self.unet = controlnet, unet
        names = [name for name, _ in controlnet.named_modules() if name.endswith(TIME_PROJECTION)]
        self.own_projections = [controlnet.get_submodule(name) for name in names]
        self.projections = [unet.get_submodule(name) for name in names]
        with torch.no_grad():
            # Both pool the words with the same weights.
            self.pooled = unet.add_embedding.pool(unet.add_embedding.norm1(words))

    def fit(self, steps: int) -> float:
        """Returns the share of the variance of the outputs that is left as an error, in 0..1."""
        self.copy_most_used_units()
        self.solve_projections()
        trained = nn.ModuleList(
            [
                self.controlnet.time_embedding,
                self.controlnet.add_embedding.proj,
                self.controlnet.add_embedding.norm2,
                *self.own_projections,
            ]
        )
        optimizer = torch.optim.Adam(trained.parameters(), lr=FIT_RATE)
        rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        random = torch.Generator().manual_seed(11)
        for _ in range(steps):
            loss = self.measure_error(*self.sample_points(POINTS, random))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rates.step()
        with torch.no_grad():
            return self.measure_error(*self.sample_points(LEAST_SQUARES_POINTS, random)).item()

    def sample_points(self, count: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Returns time steps of shape (count,), and pooled words of shape (count, width)."""
        chosen = torch.randint(len(self.pooled), (count,), generator=random)
        return torch.randint(1000, (count,), generator=random), self.pooled[chosen]

    def measure_error(self, times: Tensor, pooled: Tensor) -> Tensor:
        with torch.no_grad():
            target = apply_all(self.projections, embed(self.unet, times, pooled))
        output = apply_all(self.own_projections, embed(self.controlnet, times, pooled))
        return (output - target).square().mean() / target.var(dim=0).mean()

    @torch.no_grad()
    def copy_most_used_units(self) -> None:
        """Copies as many units of both layers of the time embedding as fit: those with the largest effect."""
        times, pooled = self.sample_points(LEAST_SQUARES_POINTS, torch.Generator().manual_seed(12))
        own, known = self.controlnet.time_embedding, self.unet.time_embedding
        hidden = F.silu(known.linear_1(self.unet.time_proj(times)))
        inner = choose_units(hidden, known.linear_2.weight, own.linear_1.out_features)
        weights = torch.cat([layer.weight for layer in self.projections])
        outer = choose_units(embed(self.unet, times, pooled), weights, own.linear_2.out_features)
        own.linear_1.weight.copy_(known.linear_1.weight[inner])
        own.linear_1.bias.copy_(known.linear_1.bias[inner])
        own.linear_2.weight.copy_(known.linear_2.weight[outer][:, inner])
        own.linear_2.bias.copy_(known.linear_2.bias[outer])
        for name in ("proj.weight", "proj.bias", "norm2.weight", "norm2.bias"):
            value = self.unet.add_embedding.get_parameter(name)
            self.controlnet.add_embedding.get_parameter(name).copy_(value[outer])

    @torch.no_grad()
    def solve_projections(self) -> None:
        """Solves for the projections of all blocks with the least squared error."""
        times, pooled = self.sample_points(LEAST_SQUARES_POINTS, torch.Generator().manual_seed(13))
        inputs = F.pad(embed(self.controlnet, times, pooled), (0, 1), value=1)
        targets = embed(self.unet, times, pooled)
        for own, known in zip(self.own_projections, self.projections, strict=True):
            solution = torch.linalg.lstsq(inputs.double(), known(targets).double()).solution.T.float()
            own.weight.copy_(solution[:, :-1])
            own.bias.copy_(solution[:, -1])


def embed(network: ControlNetModel | UNet2DConditionModel, times: Tensor, pooled: Tensor) -> Tensor:
    """Returns what the projections of the residual blocks get."""
    words = network.add_embedding.norm2(network.add_embedding.proj(pooled))
    embedding: Tensor = network.time_embedding(network.time_proj(times)) + words
    return F.silu(embedding)


def apply_all(layers: list[nn.Module], inputs: Tensor) -> Tensor:
    return torch.cat([layer(inputs) for layer in layers], dim=1)


def choose_units(values: Tensor, weights: Tensor, count: int) -> Tensor:
    """Returns the indices of the `count` units that contribute most to the output of a layer with these weights."""
    indices: Tensor = (values.std(dim=0) * weights.norm(dim=0)).topk(count).indices
    return indices
