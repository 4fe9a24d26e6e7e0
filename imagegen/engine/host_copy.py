"""Copies results from the device to main memory, while other tasks go on."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor

from imagegen.engine.run_loop import run_in_thread, wait_for
from imagegen.errors import NonFiniteLatents


class AsyncHostCopy:
    """A copy to main memory of tensors that a GPU may not have computed yet. Creating it does not wait for the GPU."""

    def __init__(self, *tensors: Tensor) -> None:
        self.tensors = [tensor.to("cpu", non_blocking=True) for tensor in tensors]
        self._event = torch.cuda.Event(blocking=True)
        self._event.record()

    @property
    def is_ready(self) -> bool:
        return bool(self._event.query())

    def wait_for_tensors(self) -> list[Tensor]:
        """Returns the tensors as soon as they are copied, without waiting for later work of the GPU."""
        self._event.synchronize()
        return self.tensors


def convert_to_images(pixels: Tensor, step: int) -> list[Image.Image]:
    """Returns pictures for numbers in 0..1 of shape (n, 3, height, width). Other tasks go on meanwhile.

    Raises NonFiniteLatents, with this step, if a number is infinite or undefined.
    """
    finite = torch.isfinite(pixels).all()
    eight_bits = (pixels.float() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    if pixels.is_cuda:
        finite, eight_bits = wait_for(run_in_thread(AsyncHostCopy(finite, eight_bits).wait_for_tensors))
    if not finite:
        raise NonFiniteLatents(step)
    return [Image.fromarray(picture) for picture in eight_bits.numpy()]
