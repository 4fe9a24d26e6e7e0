"""The pipelines that jobs run in: one class for each task, derived from the loaded model without copying weights."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Mapping

from imagegen.engine.families.base import ModelFamily
from imagegen.engine.log_filters import suppress_messages
from imagegen.engine.models.loaded import LoadedModel
from imagegen.engine.prompts.prompt_cache import cache_calls
from imagegen.engine.protocols import Pipeline, PipelineClass
from imagegen.schema.field_types import SamplerName
from imagegen.schema.tasks import TaskName

# transformers warns about image processors that no model here uses.
with suppress_messages("transformers.utils.import_utils", "`"):
    from diffusers import (
        AutoPipelineForImage2Image,
        AutoPipelineForInpainting,
        AutoPipelineForText2Image,
    )

PIPELINE_BY_TASK: Mapping[TaskName, PipelineClass] = {
    "text_to_image": AutoPipelineForText2Image,
    "image_to_image": AutoPipelineForImage2Image,
    "inpainting": AutoPipelineForInpainting,
}


def derive_pipeline(pipeline: Pipeline, task: TaskName, family: ModelFamily) -> Pipeline:
    """Returns a pipeline for a task with the weights of `pipeline`. Takes milliseconds."""
    pipeline_class = family.choose_pipeline_class(pipeline, task) or PIPELINE_BY_TASK[task]
    derived = pipeline_class.from_pipe(pipeline)
    derived.set_progress_bar_config(disable=True)
    return derived


def create_job_pipeline(
    model: LoadedModel, sampler: SamplerName, task: TaskName, adapters_key: Hashable = ()
) -> Pipeline:
    """Returns a pipeline for one job, with its own scheduler and the networks that all jobs share. Takes milliseconds.

    `adapters_key` is part of the key of cached prompts: it identifies the LoRAs on the text encoders.
    """
    if task not in model.pipelines:
        model.pipelines[task] = derive_pipeline(model.pipeline, task, model.family)
        if model.shared_networks is not None:
            fix_execution_device(model.pipelines[task])
    if sampler not in model.schedulers:
        model.schedulers[sampler] = model.family.create_scheduler(model.pipeline, sampler)
    pipeline = copy.copy(model.pipelines[task])
    scheduler = copy.copy(model.schedulers[sampler])  # A shallow copy: a run replaces its lists.
    # Setting attributes would make the pipeline rebuild its configuration.
    pipeline.__dict__["scheduler"] = scheduler
    if hasattr(pipeline, "encode_prompt"):
        encode = cache_calls(pipeline.encode_prompt, model.prompt_cache, adapters_key)
        pipeline.__dict__["encode_prompt"] = encode
    if model.shared_networks is not None:
        pipeline.__dict__ |= model.shared_networks.proxies
    return pipeline


def fix_execution_device(pipeline: Pipeline) -> None:
    """Sets the device of a pipeline that will not be moved. Pipelines search all their layers for it in each call."""
    pipeline_class, device = type(pipeline), next(pipeline.vae.parameters()).device
    pipeline.__class__ = type(pipeline_class.__name__, (pipeline_class,), {"_execution_device": device})
