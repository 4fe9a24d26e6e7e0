"""The upscalers in memory: networks are read once, and the ones used last are kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from imagegen.engine.batching.collate import BatchRules
from imagegen.engine.batching.network import BatchedNetwork
from imagegen.engine.compile.accelerator import Accelerator
from imagegen.engine.run_loop import run_in_thread, wait_for
from imagegen.engine.upscaling.enlarge import Enlarger, FilterEnlarger, NetworkEnlarger
from imagegen.engine.upscaling.networks import load_network
from imagegen.errors import ModelLoadFailed
from imagegen.library.upscaler_architectures import UnknownUpscaler, UpscalerArchitecture, detect_upscaler_architecture
from imagegen.library.weight_files import read_header
from imagegen.schema.models import UpscalerSource

# The networks that are kept. Each takes up to about 100 MB.
MAX_NETWORKS = 2


class UpscalerCache:
    """Used by the run loop's thread. Calls of networks go to the batcher, so that jobs share passes and take turns."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        # By the checksum of the file, with the id; the one used last is at the end.
        self._networks: dict[str, tuple[str, NetworkEnlarger]] = {}

    def load(self, source: UpscalerSource) -> Enlarger:
        """Returns an upscaler. Other tasks go on while it is read from disk. Raises ModelLoadFailed."""
        if source.path is None:
            return FilterEnlarger(source.id)
        key = source.sha256 or source.id
        if key in self._networks:
            _, enlarger = self._networks.pop(key)
        else:
            enlarger = self._read(source.name, source.path)
        self._networks[key] = source.id, enlarger
        while len(self._networks) > MAX_NETWORKS:
            del self._networks[next(iter(self._networks))]
        return enlarger

    def release(self, upscaler_id: str) -> None:
        """Drops an upscaler, if it is there. A job that uses it keeps it until its end."""
        self._networks = {key: entry for key, entry in self._networks.items() if entry[0] != upscaler_id}

    def _read(self, name: str, path: Path) -> NetworkEnlarger:
        try:
            architecture, network = wait_for(run_in_thread(lambda: read_network(path, self.device)))
        except (OSError, ValueError, RuntimeError, LookupError) as error:
            problem = str(error) if isinstance(error, UnknownUpscaler) else "its file cannot be read"
            raise ModelLoadFailed(name, problem) from error
        return NetworkEnlarger(share_network(network), architecture, self.device)


def read_network(path: Path, device: torch.device) -> tuple[UpscalerArchitecture, nn.Module]:
    """Raises BrokenWeights, UnknownUpscaler, and what safetensors and torch raise."""
    architecture = detect_upscaler_architecture(read_header(path).shapes)
    return architecture, load_network(path, architecture, device)


def share_network(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """Returns a function that runs the network in the batcher's passes. It is called in a task of the run loop."""
    rules = BatchRules(timesteps=())
    shared = BatchedNetwork(["pixels"], Accelerator(network, network, "forward", None, rules), rules)

    def run(pixels: Tensor) -> Tensor:
        output = shared(pixels)
        assert isinstance(output, Tensor)
        return output

    return run
