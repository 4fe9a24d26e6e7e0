"""Reads a network of transformers and what prepares pictures for it from a folder, without code of strangers."""

from __future__ import annotations

import json
from typing import Any

import torch
import transformers
from torch import nn

from imagegen.engine.log_filters import suppress_messages
from imagegen.engine.models.loading import disable_progress_bars
from imagegen.engine.models.safe_configs import open_safe_folder, remove_code
from imagegen.library.network_index import PROCESSOR_FILE
from imagegen.schema.models import AdapterSource
from imagegen.text import truncate


def read_transformers_network(source: AdapterSource, unused_parts: tuple[str, ...] = ()) -> nn.Module:
    """Returns a network of the class `source.architecture` in main memory, in float32.

    The file may lack tensors whose names begin with `unused_parts`: the network never uses them. Raises OSError, and
    ValueError for weights that are not those of its configuration.
    """
    network_class = getattr(transformers, source.architecture)
    with (
        open_safe_folder(source.path.parent) as folder,
        disable_progress_bars(),
        suppress_messages("transformers.modeling_utils", ""),  # Of tensors, which are checked below.
        suppress_messages("transformers.utils.loading_report", ""),
    ):
        network, facts = network_class.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        names = [str(each) for each in facts[problem]]
        if problem == "missing_keys":
            names = [each for each in names if not each.startswith(unused_parts)]
        if names:
            name = truncate(min(names))
            raise ValueError(f"its tensors are not those of its configuration: {problem.replace('_', ' ')} {name}")
    loaded: nn.Module = network
    return loaded


def create_processor(source: AdapterSource, processor_class: Any) -> Any:
    """Returns what prepares pictures, of this class. Without a file, it is as networks of this kind were trained."""
    file = source.path.with_name(PROCESSOR_FILE)
    return processor_class.from_dict(remove_code(json.loads(file.read_bytes())) if file.is_file() else {})
