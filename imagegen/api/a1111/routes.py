"""The web UI's routes under /sdapi/v1."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from imagegen.api.a1111 import extras
from imagegen.api.a1111.checkpoints import resolve_model_title
from imagegen.api.a1111.controlnet_routes import create_controlnet_router
from imagegen.api.a1111.detected_maps import make_detected_maps
from imagegen.api.a1111.list_routes import add_list_routes, add_placeholder_routes
from imagegen.api.a1111.options import NewOptions, NewOptionsBody, Options, OptionStore, build_options
from imagegen.api.a1111.png_info import Caption, InterrogateBody, PngInfo, PngInfoBody, read_caption, read_png_info
from imagegen.api.a1111.progress import HowFar, get_progress
from imagegen.api.a1111.requests import (
    Img2ImgBody,
    Txt2ImgBody,
    Txt2ImgFields,
    convert_a1111_request,
    list_ignored_fields,
    report_a1111_field_names,
)
from imagegen.api.a1111.responses import Done, Pictures, build_pictures_answer
from imagegen.api.a1111.unknown_fields import OpenModel, list_unknown_fields, log_ignored_fields
from imagegen.api.a1111.vaes import resolve_vae
from imagegen.api.rest.dependencies import CurrentUser, wait_for_result
from imagegen.api.rest.openapi import SAMPLE_IMAGE, build_error_responses
from imagegen.errors import NothingToKeep
from imagegen.schema.base import FrozenModel, User
from imagegen.service import Service


class A1111Problem(FrozenModel):
    """`error` is the code for programs, `errors` the message for people; `detail` equals `errors`."""

    error: str
    detail: str
    body: str
    errors: str


TXT2IMG_EXAMPLE = {"prompt": "a red circle on a blue background", "seed": 7, "steps": 20, "sampler_name": "DPM++ 2M"}
A1111_EXAMPLES: dict[str, dict[str, Any]] = {
    "txt2img": TXT2IMG_EXAMPLE,
    "img2img": TXT2IMG_EXAMPLE | {"init_images": [SAMPLE_IMAGE], "denoising_strength": 0.7},
    "options": {"sd_model_checkpoint": "embedded"},
    "png-info": {"image": SAMPLE_IMAGE},
    "interrogate": {"image": SAMPLE_IMAGE, "model": "clip"},
    "extra-single-image": {"image": SAMPLE_IMAGE, "upscaler_1": "Lanczos", "upscaling_resize": 2},
    "extra-batch-images": {"imageList": [{"data": SAMPLE_IMAGE, "name": "a.png"}], "upscaler_1": "Nearest"},
}


def create_a1111_router(service: Service) -> APIRouter:
    router = APIRouter(prefix="/sdapi/v1", tags=["AUTOMATIC1111"], responses=build_error_responses(A1111Problem))
    options = OptionStore()
    add_txt2img_routes(router, service, options)
    add_job_control_routes(router, service)
    add_option_routes(router, service, options)
    add_list_routes(router, service)
    add_placeholder_routes(router)
    add_extras_routes(router, service)
    return router


def create_controlnet_extension_router(service: Service) -> APIRouter:
    return create_controlnet_router(service, build_error_responses(A1111Problem))


def add_post_route(router: APIRouter, name: str, handler: Callable[..., Any], body_model: Any) -> None:
    """Adds a route whose body has a model that was created at runtime."""
    handler.__annotations__["body"] = body_model
    example = {"requestBody": {"content": {"application/json": {"example": A1111_EXAMPLES[name]}}}}
    router.add_api_route(f"/{name}", handler, methods=["POST"], openapi_extra=example)


def add_txt2img_routes(router: APIRouter, service: Service, options: OptionStore) -> None:
    async def generate(body: Txt2ImgFields, user: CurrentUser, http: Request) -> Pictures:
        with report_a1111_field_names(body.alwayson_scripts):
            generation_request = await convert_a1111_request(service, body, user, options.get(user).vae)
            ignored = await asyncio.to_thread(list_ignored_fields, service, body)
            log_ignored_fields(http.url.path, ignored)
            _, result = await wait_for_result(service, generation_request, user, http, previews=True)
        map_ids = await make_detected_maps(service, body, result, options.get(user).no_detected_maps)
        return await build_pictures_answer(service.images, body, result, map_ids, ignored)

    async def txt2img(body: Any, user: CurrentUser, http: Request) -> Pictures:
        """Generates pictures from a prompt, and responds when they are finished. A disconnect cancels the job."""
        return await generate(body, user, http)

    async def img2img(body: Any, user: CurrentUser, http: Request) -> Pictures:
        """Generates pictures from a start image and a prompt, and responds when they are finished."""
        return await generate(body, user, http)

    add_post_route(router, "txt2img", txt2img, Txt2ImgBody)
    add_post_route(router, "img2img", img2img, Img2ImgBody)


def add_job_control_routes(router: APIRouter, service: Service) -> None:
    @router.get("/progress")
    async def progress(
        user: CurrentUser, skip_current_image: Annotated[bool, Query(description="Without the preview.")] = False
    ) -> HowFar:
        """The progress of the caller's own jobs."""
        return await get_progress(service, user, include_picture=not skip_current_image)

    @router.post("/interrupt")
    async def interrupt(user: CurrentUser) -> Done:
        """Ends the caller's running jobs with the pictures as they are then, and cancels those without a step."""
        for job in await service.list_unfinished_jobs(user):
            try:
                await service.finish_early(job.id, user)
            except NothingToKeep:
                await service.cancel(job.id, user)
        return Done()

    @router.post("/skip")
    async def skip(user: CurrentUser) -> Done:
        """Cancels the caller's first job; their waiting jobs remain."""
        for job in (await service.list_unfinished_jobs(user))[:1]:
            await service.cancel(job.id, user)
        return Done()


def add_option_routes(router: APIRouter, service: Service, options: OptionStore) -> None:
    @router.get("/options")
    async def shown(user: CurrentUser) -> Options:
        """The model and the VAE that the caller has chosen, and the options that are fixed."""
        return await build_options(service, user, options.get(user))

    async def changed(body: NewOptions, user: CurrentUser) -> Done:
        """Sets the model and the VAE for the caller's next pictures. It does not affect other users."""
        vae = await asyncio.to_thread(resolve_vae, service.model_manager, body.sd_vae)
        if body.sd_model_checkpoint is not None:
            model = await asyncio.to_thread(resolve_model_title, service.model_manager, body.sd_model_checkpoint)
            await service.set_model_choice(model, user)
        if body.sd_vae is not None:
            options.set(user, replace(options.get(user), vae=vae))
        if body.send_seed is not None:
            options.set(user, replace(options.get(user), send_seed=body.send_seed))
        if body.control_net_no_detectmap is not None:
            options.set(user, replace(options.get(user), no_detected_maps=body.control_net_no_detectmap))
        return Done()

    add_post_route(router, "options", changed, NewOptionsBody)

    @router.post("/unload-checkpoint")
    async def unload(user: CurrentUser) -> Done:
        """Frees the memory of the caller's model, unless a job uses it. The next job loads it again."""
        await service.model_manager.models.unload(await service.get_model_choice(user), user)
        return Done()

    @router.post("/reload-checkpoint")
    async def reload(user: CurrentUser) -> Done:
        """Loads the caller's model onto a device, so that the next job need not wait for it."""
        async for _ in service.model_manager.models.load(await service.get_model_choice(user), user):
            pass
        return Done()


def add_extras_routes(router: APIRouter, service: Service) -> None:
    def count_and_log(body: OpenModel, user: User, http: Request) -> None:
        service.count_request(user)
        log_ignored_fields(http.url.path, list_unknown_fields(body))

    async def enlarge(body: extras.UpscaleImageFields, user: CurrentUser, http: Request) -> extras.Enlarged:
        """Makes a picture larger, and responds when it is finished. A disconnect cancels the job."""
        log_ignored_fields(http.url.path, list_unknown_fields(body))
        return await extras.Extras(service, user, http).upscale_image(body)

    async def enlarge_several(
        body: extras.UpscaleBatchFields, user: CurrentUser, http: Request
    ) -> extras.SeveralEnlarged:
        """Makes several pictures larger, one after the other, and responds when all are finished."""
        log_ignored_fields(http.url.path, list_unknown_fields(body))
        return await extras.Extras(service, user, http).upscale_batch(body)

    async def png_info(body: PngInfoBody, user: CurrentUser, http: Request) -> PngInfo:
        """Reads the settings that the studio and other tools store in pictures."""
        count_and_log(body, user, http)
        return await asyncio.to_thread(read_png_info, body)

    async def interrogate(body: InterrogateBody, user: CurrentUser, http: Request) -> Caption:
        """Returns the prompt that is stored in a picture. No model looks at the picture."""
        count_and_log(body, user, http)
        return await asyncio.to_thread(read_caption, body)

    add_post_route(router, "extra-single-image", enlarge, extras.UpscaleImageBody)
    add_post_route(router, "extra-batch-images", enlarge_several, extras.UpscaleBatchBody)
    add_post_route(router, "png-info", png_info, PngInfoBody)
    add_post_route(router, "interrogate", interrogate, InterrogateBody)
