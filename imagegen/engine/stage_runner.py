"""Runs the stages of a job with a model that is on the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from PIL import Image
from torch import Tensor

from imagegen.engine.adapters.adapter_cache import JobAdapters
from imagegen.engine.call_arguments import build_call_arguments
from imagegen.engine.controls.prepare import prepare_controls
from imagegen.engine.detail import Part, build_detail_request, choose_boxes, list_parts, plan_detail
from imagegen.engine.hires import build_hires_image, build_hires_request
from imagegen.engine.host_copy import convert_to_images
from imagegen.engine.inpainting import InpaintingPlan, apply_latent_fill, plan_inpainting
from imagegen.engine.ip_adapters.prepare import JobReferences, prepare_references
from imagegen.engine.job import EngineJob, JobControl, JobInputs
from imagegen.engine.models.loaded import LoadedModel
from imagegen.engine.models.network_cache import LoadedNetwork
from imagegen.engine.models.network_files import READ_ERRORS
from imagegen.engine.models.out_of_memory import is_out_of_memory
from imagegen.engine.outpainting import plan_outpainting
from imagegen.engine.pipelines import create_job_pipeline
from imagegen.engine.previews.decoder import PreviewDecoder
from imagegen.engine.prompts.inputs import build_prompt_arguments
from imagegen.engine.protocols import Pipeline, get_vae_scale_factor
from imagegen.engine.run_loop import get_context, run_in_thread, wait_for
from imagegen.engine.stages import Stage
from imagegen.engine.step_cache import StepCache
from imagegen.engine.step_callback import CallPlace, LatentView, StepCallback
from imagegen.engine.upscaling.enlarge import enlarge_with_alpha
from imagegen.engine.upscaling.tile_progress import EndedEarly, TileProgress
from imagegen.engine.upscaling.upscaler_cache import UpscalerCache
from imagegen.engine.vaes.apply import apply_vae
from imagegen.engine.variation import apply_variation
from imagegen.errors import InvalidRequest, ModelLoadFailed
from imagegen.schema.events import Progress
from imagegen.schema.models import SourceKind
from imagegen.schema.prompt_schedule import Pass
from imagegen.schema.request import GenerationRequest
from imagegen.schema.sizes import Box, scale_size
from imagegen.text import truncate


@dataclass(frozen=True)
class StageOutput:
    """The pictures of a job, and their latents if they were painted.

    `unfinished_at_step` is the last step of one that was ended early, else None. `detail_boxes` are the parts of each
    picture that were painted again, None without a stage for it.
    """

    images: list[Image.Image]
    unfinished_at_step: int | None = None
    latents: Tensor | None = None
    detail_boxes: Sequence[Sequence[Box]] | None = None


@dataclass(frozen=True)
class StageRunner:
    """Called in the job's task of the run loop. A job that does not paint has neither a model nor adapters.

    `networks` are those of the job's adapters that are networks: its ControlNets, the preprocessors for them, its
    IP-Adapters with their image encoders, its VAE, and its detector. Previews are made with `preview_decoder`, or with
    the model's projection.
    """

    inputs: JobInputs
    model: LoadedModel | None
    adapters: JobAdapters | None
    networks: Sequence[LoadedNetwork]
    upscalers: UpscalerCache
    control: JobControl
    emit: Callable[[Progress], None]
    preview_decoder: PreviewDecoder | None = None

    def run_all(self, stages: Sequence[Stage]) -> StageOutput:
        """Returns the pictures of the last stage, or of the one in which the job is ended early.

        Raises JobInterrupted, NonFiniteLatents, UpscalingFailed, ModelLoadFailed and InvalidRequest.
        """
        is_painted = stages[0].upscaler is None
        output = StageOutput([] if is_painted else [self.inputs.input_images[name] for name in stages[0].input_images])
        for number, stage in enumerate(stages, 1):
            output = self._choose_run(stage)(stage, output, CallPlace(number, len(stages)))
            if output.unfinished_at_step is not None:
                break
        return output

    def _choose_run(self, stage: Stage) -> Callable[[Stage, StageOutput, CallPlace], StageOutput]:
        if stage.upscaler is not None:
            return self._upscale
        return self._paint_details if stage.name == "detail" else self._paint

    def _upscale(self, stage: Stage, previous: StageOutput, place: CallPlace) -> StageOutput:
        assert stage.upscaler is not None
        enlarger = self.upscalers.load(self.inputs.upscalers[stage.upscaler])
        request, size = self.inputs.request, previous.images[0].size
        target = request.painted_size if stage.upscaler == "hires_upscaler" else scale_size(size, request.scale)
        tiles = enlarger.count_tiles(size, target) * len(previous.images)
        progress = TileProgress(self.control, self.emit, tiles, place.stage, place.stages)
        try:
            images = [enlarge_with_alpha(enlarger, image, target, progress.start_tile) for image in previous.images]
        except EndedEarly:
            return replace(previous, unfinished_at_step=max(progress.step, 0))
        progress.finish()
        return replace(previous, images=images, latents=None)

    def _paint(self, stage: Stage, previous: StageOutput, place: CallPlace) -> StageOutput:
        inputs = self.inputs
        is_hires = stage.name == "hires"
        request = build_hires_request(inputs.request) if is_hires else inputs.request
        pipeline = self._prepare_pipeline(stage, request)
        inpainting = self._plan_inpainting(stage, pipeline)
        image = build_hires_image(inputs.request, pipeline, previous.images, previous.latents) if is_hires else None
        images, callback = self._call(stage, request, pipeline, inpainting, place, image)
        return StageOutput(images, callback.stage_step if callback.is_ended_early else None, callback.latents)

    def _paint_details(self, stage: Stage, previous: StageOutput, place: CallPlace) -> StageOutput:
        """Paints what a detector finds in the pictures of the stage before, one part after the other."""
        request, images = self.inputs.request, list(previous.images)
        (detector,) = self._list_networks("detector")
        parts = list_parts([find_boxes(detector, image, request) for image in images])
        if parts and self.control.finish_requested.is_set():
            return replace(previous, unfinished_at_step=0)
        painted: list[list[Box]] = [[] for _ in images]
        for call, part in enumerate(parts, 1):
            images[part.picture], callback = self._paint_part(
                stage, images[part.picture], part, replace(place, call=call, calls=len(parts))
            )
            painted[part.picture].append(part.box)
            if callback.is_ended_early:
                return StageOutput(images, callback.stage_step, detail_boxes=painted)
        return StageOutput(images, detail_boxes=painted)

    def _paint_part(
        self, stage: Stage, image: Image.Image, part: Part, place: CallPlace
    ) -> tuple[Image.Image, StepCallback]:
        """Returns a picture with a part that is painted again, and what was called after each step."""
        self.control.raise_if_cancelled()
        latent_side = get_vae_scale_factor(self._get_model().pipeline)
        plan = wait_for(run_in_thread(partial(plan_detail, image, part.box, self.inputs.request, latent_side)))
        request = build_detail_request(self.inputs.request, part, plan.start.size)
        pipeline = self._prepare_pipeline(stage, request)
        (finished,), callback = self._call(stage, request, pipeline, plan, place)
        return finished, callback

    def _call(
        self,
        stage: Stage,
        request: GenerationRequest,
        pipeline: Pipeline,
        inpainting: InpaintingPlan | None,
        place: CallPlace,
        image: object = None,
    ) -> tuple[list[Image.Image], StepCallback]:
        """Returns the pictures of a call of a stage's pipeline, and what was called after each step.

        `image` is what the pipeline starts from instead of the stage's input picture. Other jobs go on meanwhile.
        """
        model, adapters = self._get_model(), self._get_adapters()
        apply_variation(pipeline, request)
        end_step = self._extend_calls(request, model, pipeline, inpainting)
        callback = StepCallback(self.control, self._create_view(request, inpainting), self.emit, end_step, place)
        input_images = {**self.inputs.input_images, **(inpainting.input_images if inpainting else {})}
        arguments = build_call_arguments(request, stage, pipeline, model.family, input_images)
        if image is not None:
            arguments["image"] = image
        try:
            whole = self._describe_pass(stage, request)
            prompts, callback.prompt_steps = build_prompt_arguments(model, request, adapters, whole)
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
        return images, callback

    def _create_view(self, request: GenerationRequest, inpainting: InpaintingPlan | None) -> LatentView:
        model = self._get_model()
        assert model.projection is not None and request.height is not None
        compose = inpainting.paste_preview if inpainting is not None else None
        return LatentView(self.preview_decoder or model.projection, model.family, request.height, compose)

    def _describe_pass(self, stage: Stage, request: GenerationRequest) -> Pass:
        """Returns how many steps prompts count in a stage, whose request is `request`."""
        assert request.steps is not None
        if stage.name != "hires":
            return Pass(request.steps)
        first = self.inputs.request
        assert first.steps is not None
        return Pass(first.hires_steps or first.steps, first_pass_steps=first.steps)

    def _get_model(self) -> LoadedModel:
        assert self.model is not None
        return self.model

    def _get_adapters(self) -> JobAdapters:
        assert self.adapters is not None
        return self.adapters

    def _prepare_pipeline(self, stage: Stage, request: GenerationRequest) -> Pipeline:
        """Returns the pipeline with this job's LoRAs and its VAE applied. `request` is that of the stage."""
        model, adapters = self._get_model(), self._get_adapters()
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
        ip_adapters, encoders = self._list_networks("ip_adapter"), self._list_networks("image_encoder")
        inputs = self.inputs
        return prepare_references(inputs.request, self._get_model(), ip_adapters, encoders, inputs.input_images)

    def _extend_calls(
        self, request: GenerationRequest, model: LoadedModel, pipeline: Pipeline, inpainting: InpaintingPlan | None
    ) -> Callable[[], None]:
        """Makes the calls of the denoiser follow the job's controls, and look at its reference pictures.

        Returns what must be called after each step.
        """
        images, job = self.inputs.input_images, get_context(EngineJob)
        box = inpainting.request_box if inpainting is not None else None
        networks = self._list_networks("controlnet"), self._list_networks("preprocessor")
        controls = prepare_controls(request, model, pipeline, *networks, images, box)
        references = self._references.for_pictures(len(request.prompts))
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


def find_boxes(detector: LoadedNetwork, image: Image.Image, request: GenerationRequest) -> list[Box]:
    """Returns what a detector finds in a picture. Other jobs go on meanwhile.

    Raises ModelLoadFailed for a detector that cannot look at it.
    """
    network: Any = detector.network
    try:
        detections = wait_for(run_in_thread(lambda: network.detect(image, request.detail_confidence)))
        return choose_boxes(detections, request.detail_label, image.size)
    except READ_ERRORS as error:
        if isinstance(error, RuntimeError) and is_out_of_memory(error):
            raise
        problem = truncate(" ".join(str(error).split()), 300)
        raise ModelLoadFailed(detector.source.name, f"it cannot look at a picture: {problem}") from error
