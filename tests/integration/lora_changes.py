"""Tiny pipelines in memory, and what a LoRA file changes of their parameters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from imagegen.engine.adapters.lora_file import read_lora
from imagegen.engine.adapters.merge import AdapterResolver, WeightedLora, WeightPatcher
from imagegen.library.adapters import AdapterIndex
from imagegen.library.snapshots import Snapshots
from tests.hub.tiny import TINY

RANK = 2
Tensors = dict[str, Tensor]


@cache
def build_pipeline(model: str) -> Any:
    """Returns a tiny pipeline in full precision, always with the same weights."""
    build: Any = TINY[model]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return build.__wrapped__()


def get_weight(pipeline: Any, name: str) -> Tensor:
    """Returns the weight of a layer, such as `transformer.proj_out`."""
    component, _, module = name.partition(".")
    weight: Tensor = getattr(pipeline, component).get_submodule(module).weight
    return weight


def list_parameters(pipeline: Any) -> Tensors:
    components = {name: part for name, part in pipeline.components.items() if isinstance(part, nn.Module)}
    return {
        f"{component}.{name}": parameter.detach().clone()
        for component, network in components.items()
        for name, parameter in network.named_parameters()
    }


def find_changes(
    pipeline: Any,
    folder: Path,
    tensors: Mapping[str, Tensor],
    metadata: dict[str, str] | None = None,
    peft_config: Mapping[str, object] | None = None,
    weight: float = 1.0,
) -> Tensors:
    """Returns what a LoRA file adds to parameters, by their names; those that stay the same are left out.

    Raises UnusableModel for a file that is refused when it is listed, read or applied.
    """
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "it.safetensors", metadata)
    if peft_config is not None:
        (folder / "adapter_config.json").write_text(json.dumps(peft_config))
    source = AdapterIndex("lora", (folder,), Snapshots(folder / "hub")).get_source("it", weight)
    lora, resolver = WeightedLora("it", "it", read_lora(source), weight), AdapterResolver(pipeline)
    before = list_parameters(pipeline)
    patchers = [WeightPatcher(), WeightPatcher()]
    for patcher, for_encoders in zip(patchers, (False, True), strict=True):
        patcher.merge(resolver.resolve([lora], for_encoders))
    after = list_parameters(pipeline)
    for patcher in patchers:
        patcher.unmerge()
    assert all(torch.equal(before[name], restored) for name, restored in list_parameters(pipeline).items())
    return {name: after[name] - before[name] for name in before if not torch.equal(after[name], before[name])}


def assert_equal(found: Tensors, expected: Tensors) -> None:
    assert found.keys() == expected.keys()
    for name, delta in expected.items():
        torch.testing.assert_close(found[name], delta.reshape(found[name].shape), atol=1e-4, rtol=1e-4)


def random(*shape: int) -> Tensor:
    """Returns a tensor that depends on its shape alone."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))
