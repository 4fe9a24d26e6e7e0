"""The web UI's routes under /sdapi/v1."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from imagegen.api.a1111 import extras, lists
from imagegen.api.a1111.answers import Pictures, answer
from imagegen.api.a1111.checkpoints import chosen, found
from imagegen.api.a1111.options import NewOptions, NewOptionsBody, Options, options
from imagegen.api.a1111.progress import HowFar, how_far
from imagegen.api.a1111.requests import Drawing, DrawingBody, RepaintingBody, in_their_names, request
from imagegen.api.described import FEW_PIXELS, problems
from imagegen.api.running import Caller, finished
from imagegen.errors import Unsupported
from imagegen.schema import Message
from imagegen.service import Service


class A1111Problem(Message):
    """`error` is for programs, `errors` for people; `detail` is the same as `errors`."""

    error: str
    detail: str
    body: str
    errors: str


class Done(Message):
    """Nothing more to say."""


class NothingThere(Message):
    """The web UI has these, and the studio does not."""


WORDS = {"prompt": "a red circle on a blue background", "seed": 7, "steps": 20, "sampler_name": "DPM++ 2M"}
EXAMPLES: dict[str, dict[str, Any]] = {
    "txt2img": WORDS,
    "img2img": WORDS | {"init_images": [FEW_PIXELS], "denoising_strength": 0.7},
    "options": {"sd_model_checkpoint": "embedded"},
    "png-info": {"image": FEW_PIXELS},
    "extra-single-image": {"image": FEW_PIXELS, "upscaler_1": "Lanczos", "upscaling_resize": 2},
    "extra-batch-images": {"imageList": [{"data": FEW_PIXELS, "name": "a.png"}], "upscaler_1": "Nearest"},
}
NONE_HERE = ("hypernetworks", "face-restorers", "realesrgan-models", "prompt-styles", "sd-vae", "latent-upscale-modes")
REFRESHED = ("checkpoints", "loras", "embeddings")


def a1111(service: Service) -> APIRouter:
    router = APIRouter(prefix="/sdapi/v1", tags=["AUTOMATIC1111"], responses=problems(A1111Problem))
    add_pictures(router, service)
    add_running(router, service)
    add_options(router, service)
    add_lists(router, service)
    add_nothing(router)
    add_extras(router, service)
    return router


def add(router: APIRouter, name: str, route: Callable[..., Any], body: Any) -> None:
    """A route whose `asked` is of a class that was put together."""
    route.__annotations__["asked"] = body
    example = {"requestBody": {"content": {"application/json": {"example": EXAMPLES[name]}}}}
    router.add_api_route(f"/{name}", route, methods=["POST"], openapi_extra=example)


def add_pictures(router: APIRouter, service: Service) -> None:
    async def made(asked: Drawing, user: Caller, http: Request) -> Pictures:
        with in_their_names():
            wanted = await request(service, asked, user)
            _, result = await finished(service, wanted, user, http, previews=True)
        return await answer(service.images, asked, result)

    async def txt2img(asked: Any, user: Caller, http: Request) -> Pictures:
        """Makes pictures out of words, and answers when they are finished. Whoever leaves before cancels it."""
        return await made(asked, user, http)

    async def img2img(asked: Any, user: Caller, http: Request) -> Pictures:
        """Makes a picture anew, from it and from words, and answers when it is finished."""
        return await made(asked, user, http)

    add(router, "txt2img", txt2img, DrawingBody)
    add(router, "img2img", img2img, RepaintingBody)


def add_running(router: APIRouter, service: Service) -> None:
    @router.get("/progress")
    async def progress(
        user: Caller, skip_current_image: Annotated[bool, Query(description="Without the picture so far.")] = False
    ) -> HowFar:
        """How far the caller's own jobs are."""
        return how_far(service, user, with_picture=not skip_current_image)

    @router.post("/interrupt")
    async def interrupt(user: Caller) -> Done:
        """Ends all that is being made for the caller, and what waits. Nobody else's."""
        for job in service.jobs.unfinished(user.id):
            await service.cancel(job.id, user)
        return Done()

    @router.post("/skip")
    async def skip(user: Caller) -> Done:
        """Ends what is being made for the caller, and goes on with what waits."""
        for job in service.jobs.unfinished(user.id)[:1]:
            await service.cancel(job.id, user)
        return Done()


def add_options(router: APIRouter, service: Service) -> None:
    @router.get("/options")
    async def shown(user: Caller) -> Options:
        """The caller's own model, and what is the same for all."""
        return options(service, user)

    async def changed(asked: NewOptions, user: Caller) -> Done:
        """Chooses the model for the caller's next pictures, and for nobody else's."""
        if asked.sd_model_checkpoint is not None:
            model = await asyncio.to_thread(found, service.stock, asked.sd_model_checkpoint)
            service.belongings.choose_model(user.id, model)
        return Done()

    add(router, "options", changed, NewOptionsBody)


def add_lists(router: APIRouter, service: Service) -> None:
    stock = service.stock

    @router.get("/sd-models")
    async def models() -> list[lists.Checkpoint]:
        """The models on disk."""
        return await asyncio.to_thread(lists.checkpoints, stock)

    @router.get("/loras")
    async def loras() -> list[lists.Lora]:
        """The LoRAs on disk. A prompt puts one on with `<lora:name:weight>`."""
        return lists.loras(await asyncio.to_thread(stock.listed, "lora"))

    @router.get("/embeddings")
    async def embeddings(user: Caller) -> lists.Embeddings:
        """The embeddings on disk. A prompt calls one up by its name."""
        return await asyncio.to_thread(lists.embeddings, stock, chosen(service, user))

    @router.get("/samplers")
    async def samplers() -> list[lists.Sampler]:
        """The samplers that there are; a model may know fewer of them."""
        return lists.samplers()

    @router.get("/schedulers")
    async def schedulers() -> list[lists.Scheduler]:
        """What a sampler can be told about its steps."""
        return lists.schedulers()

    @router.get("/upscalers")
    async def upscalers() -> list[lists.Upscaler]:
        """Ways to enlarge a finished picture."""
        return lists.upscalers()

    @router.get("/memory")
    async def memory() -> lists.Memory:
        """That of the machine."""
        return lists.memory()


def add_nothing(router: APIRouter) -> None:
    """What there is none of, and what needs no doing."""

    async def none() -> list[NothingThere]:
        """The studio has none."""
        return []

    async def done() -> Done:
        """Lists are always those of the disk."""
        return Done()

    for name in (*NONE_HERE, "script-info"):
        router.add_api_route(f"/{name}", none, methods=["GET"])
    for name in REFRESHED:
        router.add_api_route(f"/refresh-{name}", done, methods=["POST"])

    @router.get("/scripts")
    async def scripts() -> lists.Scripts:
        """The studio has none."""
        return lists.Scripts()

    @router.get("/cmd-flags")
    async def flags() -> Done:
        """The studio has its own."""
        return Done()

    @router.post("/interrogate", include_in_schema=False)
    async def interrogate() -> Done:
        raise Unsupported("Describing a picture in words")


def add_extras(router: APIRouter, service: Service) -> None:
    async def enlarge(asked: extras.EnlargingOne, user: Caller) -> extras.Enlarged:
        """Enlarges a picture, without a model."""
        service.count(user)
        return await asyncio.to_thread(extras.enlarged, asked)

    async def enlarge_several(asked: extras.EnlargingSeveral, user: Caller) -> extras.SeveralEnlarged:
        """Enlarges several pictures, without a model."""
        service.count(user)
        return await asyncio.to_thread(extras.all_enlarged, asked)

    async def png_info(asked: extras.PngInfoBody, user: Caller) -> extras.PngInfo:
        """Reads the settings that the studio and other tools write into pictures."""
        service.count(user)
        return await asyncio.to_thread(extras.png_info, asked)

    add(router, "extra-single-image", enlarge, extras.EnlargingOneBody)
    add(router, "extra-batch-images", enlarge_several, extras.EnlargingSeveralBody)
    add(router, "png-info", png_info, extras.PngInfoBody)
