"""Resolves the model and adapters of a job to files, and fills in its request, after a check of the capabilities.

May read whole files, for checksums: use it in a thread.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from functools import partial

from imagegen.jobs.wildcards import choose_prompts
from imagegen.library.model_index import get_last_modified
from imagegen.library.shards import list_parts
from imagegen.model_manager import ModelManager
from imagegen.schema.adapter_fields import set_adapter_fields
from imagegen.schema.field_types import MAX_SEED
from imagegen.schema.models import AdapterSource, ModelInfo, ModelSource, UpscalerSource
from imagegen.schema.receipt import RequestedAs
from imagegen.schema.request import GenerationRequest
from imagegen.schema.sizes import Size
from imagegen.schema.start_size import choose_size
from imagegen.schema.tasks import TASKS
from imagegen.schema.validation import fill_in_defaults
from imagegen.storage.jobs import JobSources


def resolve_request(
    model_manager: ModelManager,
    request: GenerationRequest,
    requested: RequestedAs | None = None,
    start_size: Size | None = None,
) -> tuple[GenerationRequest, JobSources]:
    """Returns the request with all fields filled in and the choices in its prompts made, and its sources.

    `start_size` is that of the start image in pixels; a request without a size gets its own from it. Raises
    InvalidRequest.
    """
    if not TASKS[request.task].paints:
        sources = build_sources(model_manager, request, None, None, (), requested)
        return name_upscalers(request, sources), sources
    model, source = model_manager.resolve_model(request.model)
    seed = secrets.randbelow(MAX_SEED + 1) if request.seed is None else request.seed
    request, requested = choose_prompts(
        request.model_copy(update={"seed": seed}),
        model_manager.library.wildcards,
        partial(model_manager.list_embedding_words, model),
        requested,
    )
    if start_size is not None and request.width is None and request.height is None:
        width, height = choose_size(request, start_size, model)
        request = request.model_copy(update={"width": width, "height": height})
    request = fill_in_defaults(request, model, seed, secrets.randbelow(MAX_SEED + 1))
    adapters = model_manager.resolve_all_adapters(request, model)
    sources = build_sources(model_manager, request, model, source, adapters, requested)
    return name_upscalers(set_adapter_fields(request, model, adapters), sources), sources


def resolve_sources(
    model_manager: ModelManager, request: GenerationRequest, requested: RequestedAs | None = None
) -> JobSources:
    """Returns the sources of a request that `resolve_request` has filled in before. Raises InvalidRequest."""
    is_painted = TASKS[request.task].paints
    model, source = model_manager.resolve_model(request.model) if is_painted else (None, None)
    adapters = model_manager.resolve_request_adapters(request)
    return build_sources(model_manager, request, model, source, adapters, requested)


def name_upscalers(request: GenerationRequest, sources: JobSources) -> GenerationRequest:
    """Returns the request with the upscalers' own names."""
    return request.model_copy(update={field: upscaler.id for field, upscaler in sources.upscalers.items()})


def build_sources(
    model_manager: ModelManager,
    request: GenerationRequest,
    info: ModelInfo | None,
    model: ModelSource | None,
    adapters: tuple[AdapterSource, ...],
    requested: RequestedAs | None,
) -> JobSources:
    upscalers = model_manager.resolve_upscalers(request)
    return JobSources(
        model=model,
        model_sha256=model_manager.compute_model_sha256(model) if model is not None else None,
        adapters=adapters,
        adapter_stamps=read_stamps(adapters),
        upscalers=upscalers,
        upscaler_stamps=read_stamps(upscalers.values()),
        requested=requested,
        preview_decoder=model_manager.find_preview_decoder(info) if info is not None else None,
    )


def are_current(sources: JobSources) -> bool:
    """Returns whether all files are still those that were resolved, by their sizes and times. Reads no file."""
    try:
        return (
            (sources.model is None or is_model_current(sources.model))
            and read_stamps(sources.adapters) == sources.adapter_stamps
            and read_stamps(sources.upscalers.values()) == sources.upscaler_stamps
        )
    except (OSError, ValueError):
        return False


def is_model_current(model: ModelSource) -> bool:
    """Raises OSError."""
    has_config = model.config is None or model.config.exists()
    return get_last_modified(model.path) == model.changed and has_config


def read_stamps(files: Iterable[AdapterSource | UpscalerSource]) -> tuple[tuple[int, int], ...]:
    """Returns size in bytes and time of the last change in nanoseconds of each file. Raises OSError and ValueError."""
    paths = [part for file in files if file.path is not None for part in list_parts(file.path)]
    statuses = [path.stat() for path in paths]
    return tuple((status.st_size, status.st_mtime_ns) for status in statuses)
