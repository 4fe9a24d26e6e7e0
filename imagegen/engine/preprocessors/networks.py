"""Networks of transformers that make control maps, and how their output becomes a picture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from imagegen.engine.job import EngineJob
from imagegen.engine.models.network_cache import LoadedNetwork
from imagegen.engine.models.network_files import READ_ERRORS
from imagegen.engine.models.out_of_memory import is_out_of_memory
from imagegen.engine.preprocessors.ade20k import PALETTE
from imagegen.engine.run_loop import get_context, run_in_thread, wait_for
from imagegen.errors import ModelLoadFailed
from imagegen.text import truncate

# What transformers says of a network whose output is a distance: others say how near something is.
METRIC = "metric"


class LearnedPreprocessor(nn.Module, ABC):
    """A network, and how pictures are prepared for it.

    `unused_parts` are the beginnings of the names of tensors that files may lack, since the network never uses them.
    """

    unused_parts: ClassVar[tuple[str, ...]] = ()

    def __init__(self, network: Any, processor: Any) -> None:
        super().__init__()
        self.network, self.processor = network, processor

    @abstractmethod
    def make(self, image: Image.Image, *others: nn.Module) -> Image.Image:
        """Returns the control map of an RGB picture, an RGB picture of the same size.

        `others` are the further networks that the preprocessor needs.
        """


class PixelPreprocessor(LearnedPreprocessor):
    """A network whose output says something of each pixel."""

    @torch.no_grad()
    def make(self, image: Image.Image, *others: nn.Module) -> Image.Image:
        inputs = self.processor(images=image, return_tensors="pt").to(self.network.device)
        output = self.network(pixel_values=inputs["pixel_values"])
        pixels = self._paint(output, (image.height, image.width))
        return Image.fromarray(pixels.cpu().numpy().astype(np.uint8)).convert("RGB")

    @abstractmethod
    def _paint(self, output: Any, size: tuple[int, int]) -> Tensor:
        """Returns the pixels in 0..255, of shape (height, width) or (height, width, 3). `size` is height and width."""


class DepthPreprocessor(PixelPreprocessor):
    """What is near is light, as ControlNets for depth were trained. The range is that of the picture.

    The first layer that joins features has nothing to add to them, and files such as Intel/dpt-large on the Hub lack
    its part for that.
    """

    unused_parts = ("neck.fusion_stage.layers.0.residual_layer1.",)

    def _paint(self, output: Any, size: tuple[int, int]) -> Tensor:
        depth = F.interpolate(output.predicted_depth.unsqueeze(1).float(), size, mode="bicubic", align_corners=False)
        nearest_first = -depth if getattr(self.network.config, "depth_estimation_type", None) == METRIC else depth
        levels = nearest_first[0, 0] - nearest_first.min()
        return levels / levels.max().clamp(min=torch.finfo(levels.dtype).tiny) * 255


class SegmentationPreprocessor(PixelPreprocessor):
    """Each class has its colour, by which ControlNets for segments were trained."""

    def _paint(self, output: Any, size: tuple[int, int]) -> Tensor:
        logits = F.interpolate(output.logits.float(), size, mode="bilinear", align_corners=False)
        return torch.tensor(PALETTE, device=logits.device)[logits[0].argmax(dim=0)]


def make_control_map(loaded: Sequence[LoadedNetwork], image: Image.Image) -> Image.Image:
    """Returns the control map of a picture. Called in a task; other jobs go on meanwhile.

    The first network is the preprocessor, and it needs the others. Raises ModelLoadFailed for a network that cannot
    look at the picture, and JobInterrupted before or after it does so if the job was cancelled.
    """
    control = get_context(EngineJob).control
    control.raise_if_cancelled()
    network, *others = [each.network for each in loaded]
    preprocessor: Any = network
    try:
        control_map: Image.Image = wait_for(run_in_thread(partial(preprocessor.make, image.convert("RGB"), *others)))
    except READ_ERRORS as error:
        if isinstance(error, RuntimeError) and is_out_of_memory(error):
            raise
        problem = truncate(" ".join(str(error).split()), 300)
        raise ModelLoadFailed(loaded[0].source.name, f"it cannot look at a picture: {problem}") from error
    control.raise_if_cancelled()
    return control_map
