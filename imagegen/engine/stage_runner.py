"""Runs the stages of a job with a model that is on the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

from PIL import Image
from torch import Tensor

from imagegen.engine.adapters.adapter_cache import JobAdapters
from imagegen.engine.call_arguments import build_call_arguments
from imagegen.engine.controls.prepare import prepare_controls
from imagegen.engine.hires import build_hires_image, build_hires_request
from imagegen.engine.host_copy import convert_to_images
from imagegen.engine.inpainting import Box, InpaintingPlan, apply_latent_fill, plan_inpainting
from imagegen.engine.ip_adapters.prepare import JobReferences, prepare_references
from imagegen.engine.job import EngineJob, JobControl, JobInputs
from imagegen.engine.models.loaded import LoadedModel
from imagegen.engine.models.network_cache import LoadedNetwork
from imagegen.engine.outpainting import plan_outpainting
from imagegen.engine.pipelines import create_job_pipeline
from imagegen.engine.prompts.inputs import build_prompt_arguments
from imagegen.engine.protocols import Pipeline, get_vae_scale_factor
from imagegen.engine.run_loop import get_context, run_in_thread, wait_for
from imagegen.engine.stages import Stage
from imagegen.engine.step_cache import StepCache
from imagegen.engine.step_callback import LatentView, StepCallback
from imagegen.engine.upscaling.enlarge import enlarge_with_alpha
from imagegen.engine.upscaling.tile_progress import EndedEarly, TileProgress
from imagegen.engine.upscaling.upscaler_cache import UpscalerCache
from imagegen.engine.vaes.apply import apply_vae
from imagegen.engine.variation import apply_variation
from imagegen.errors import InvalidRequest
from imagegen.schema.events import Progress
from imagegen.schema.models import SourceKind
from imagegen.schema.request import GenerationRequest
from imagegen.schema.sizes import scale_size


@dataclass(frozen=True)
class StageOutput:
    """The pictures of a job, and their latents if they were painted.

    `unfinished_at_step` is the last step of one that was ended early, else None.
    """

    images: list[Image.Image]
    unfinished_at_step: int | None = None
    latents: Tensor | None = None


@dataclass(frozen=True)
class StageRunner:
    """Called in the job's task of the run loop. A job that does not paint has neither a model nor adapters.

    `networks` are those of the job's adapters that are networks: its ControlNets, its IP-Adapters with their image
    encoders, and its VAE.
    """

    inputs: JobInputs
    model: LoadedModel | None
    adapters: JobAdapters | None
    networks: Sequence[LoadedNetwork]
    upscalers: UpscalerCache
    control: JobControl
    emit: Callable[[Progress], None]

    def run_all(self, stages: Sequence[Stage]) -> StageOutput:
        """Returns the pictures of the last stage, or of the one in which the job is ended early.

        Raises JobInterrupted, NonFiniteLatents, UpscalingFailed, ModelLoadFailed and InvalidRequest.
        """
        is_painted = stages[0].upscaler is None
        output = StageOutput([] if is_painted else [self.inputs.input_images[name] for name in stages[0].input_images])
        for number, stage in enumerate(stages, 1):
            run = self._upscale if stage.upscaler is not None else self._paint
            output = run(stage, output, number, len(stages))
            if output.unfinished_at_step is not None:
                break
        return output

    def _upscale(self, stage: Stage, previous: StageOutput, number: int, count: int) -> StageOutput:
        assert stage.upscaler is not None
        enlarger = self.upscalers.load(self.inputs.upscalers[stage.upscaler])
        request, size = self.inputs.request, previous.images[0].size
        target = request.painted_size if stage.upscaler == "hires_upscaler" else scale_size(size, request.scale)
        tiles = enlarger.count_tiles(size, target) * len(previous.images)
        progress = TileProgress(self.control, self.emit, tiles, number, count)
        try:
            images = [enlarge_with_alpha(enlarger, image, target, progress.start_tile) for image in previous.images]
        except EndedEarly:
            return StageOutput(previous.images, max(progress.step, 0))
        progress.finish()
        return StageOutput(images)

    def _paint(self, stage: Stage, previous: StageOutput, number: int, count: int) -> StageOutput:
        inputs, model = self.inputs, self.model
        assert model is not None and self.adapters is not None
        is_hires = stage.name == "hires"
        request = build_hires_request(inputs.request) if is_hires else inputs.request
        pipeline = self._prepare_pipeline(stage, request, model, self.adapters)
        apply_variation(pipeline, request)
        inpainting = self._plan_inpainting(stage, pipeline)
        end_step = self._extend_calls(request, model, pipeline, inpainting.box if inpainting else None)
        view = create_view(model, request, inpainting)
        callback = StepCallback(self.control, view, self.emit, end_step, number, count)
        input_images = {**inputs.input_images, **(inpainting.input_images if inpainting else {})}
        arguments = build_call_arguments(request, stage, pipeline, model.family, input_images)
        if is_hires:
            arguments["image"] = build_hires_image(inputs.request, pipeline, previous.images, previous.latents)
        try:
            prompts = build_prompt_arguments(model, request, self.adapters)
            output = pipeline(
                **model.family.watch_steps(pipeline, callback),
                **model.family.arrange_prompts(pipeline, request.prompts, prompts),
                **arguments,
            )
            images = convert_to_images(output.images, pipeline.num_timesteps)
            if inpainting is not None:
                images = wait_for(run_in_thread(partial(list, map(inpainting.paste, images))))
        finally:
            model.pipeline.maybe_free_model_hooks()
        is_whole = callback.step == callback.steps and number == count
        is_ended_early = self.control.finish_requested.is_set() and not is_whole
        return StageOutput(images, callback.step if is_ended_early else None, callback.latents)

    def _prepare_pipeline(
        self, stage: Stage, request: GenerationRequest, model: LoadedModel, adapters: JobAdapters
    ) -> Pipeline:
        """Returns the pipeline with this job's LoRAs and its VAE applied. `request` is that of the stage."""
        assert request.sampler is not None and request.width is not None and request.height is not None
        if request.step_cache and model.shared_networks is None:
            raise InvalidRequest("step_cache", "cannot be used with a model that shares a small GPU (low_memory)")
        model.encoders_patcher.merge(adapters.encoders)
        if model.shared_networks is not None:
            job = get_context(EngineJob)
            tokens = model.family.count_picture_tokens(model.pipeline, (request.width, request.height))
            job.adapters, job.step_cache = adapters.denoiser, StepCache(request.step_cache, tokens)
        else:
            model.denoiser_patcher.merge(adapters.denoiser)
        if model.encoder_offloader is not None:
            model.encoder_offloader.activate_encoders()
        pipeline = create_job_pipeline(model, request.sampler, stage.task, adapters.encoders.key)
        model.family.prepare_job(pipeline, (request.width, request.height))
        for vae in self._list_networks("vae"):
            apply_vae(pipeline, model, vae)
        return pipeline

    def _list_networks(self, kind: SourceKind) -> list[LoadedNetwork]:
        return [network for network in self.networks if network.source.kind == kind]

    @cached_property
    def _references(self) -> JobReferences:
        """The job's reference pictures, which are the same in each stage."""
        assert self.model is not None
        ip_adapters, encoders = self._list_networks("ip_adapter"), self._list_networks("image_encoder")
        inputs = self.inputs
        return prepare_references(inputs.request, self.model, ip_adapters, encoders, inputs.input_images)

    def _extend_calls(
        self, request: GenerationRequest, model: LoadedModel, pipeline: Pipeline, box: Box | None
    ) -> Callable[[], None]:
        """Makes the calls of the denoiser follow the job's controls, and look at its reference pictures.

        Returns what must be called after each step.
        """
        images, job = self.inputs.input_images, get_context(EngineJob)
        controls = prepare_controls(request, model, pipeline, self._list_networks("controlnet"), images, box)
        references = self._references
        # In the order of the family's batch rules.
        job.extend_call = lambda arguments: {
            **controls.build_arguments(arguments),
            **references.build_arguments(arguments),
        }

        def end_step() -> None:
            job.step_cache.end_step()
            controls.end_step()

        return end_step

    def _plan_inpainting(self, stage: Stage, pipeline: Pipeline) -> InpaintingPlan | None:
        """Returns what the stage paints, None if it is not inpainting. Other jobs go on meanwhile."""
        if stage.task != "inpainting":
            return None
        request, images = self.inputs.request, self.inputs.input_images
        latent_side = get_vae_scale_factor(pipeline)
        if request.task == "outpainting":
            plan = wait_for(run_in_thread(lambda: plan_outpainting(request, images["init_image"], latent_side)))
        else:
            mask = images["mask_image"]
            plan = wait_for(run_in_thread(lambda: plan_inpainting(request, images["init_image"], mask, latent_side)))
        apply_latent_fill(pipeline.scheduler, request, plan)
        return plan


def create_view(model: LoadedModel, request: GenerationRequest, inpainting: InpaintingPlan | None) -> LatentView:
    assert model.projection is not None and request.height is not None
    compose = inpainting.paste_preview if inpainting is not None else None
    return LatentView(model.projection, model.family, request.height, compose)
