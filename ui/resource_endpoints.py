"""The endpoints for programs that manage models, LoRAs and embeddings."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from inspect import Parameter
from typing import Any

import gradio as gr

from imagegen.errors import InvalidRequest
from imagegen.schema.event_texts import describe_load_progress
from imagegen.schema.request import CountedPrompt
from imagegen.schema.validation import parse_model
from imagegen.service import Service
from ui.endpoints import document_component, set_signature
from ui.gradio_request import get_user
from ui.messages import raise_as_gradio_error

JsonObject = dict[str, Any]
DELETE_HELP = "Whether to delete it from the disk too, which only an administrator may do."


def add_resource_endpoints(service: Service, demo: gr.Blocks) -> None:
    for name in service.resources:
        ResourceEndpoints(service, name).register(demo)
    add_refused_files_endpoint(service, demo)
    add_wildcards_endpoint(service, demo)
    add_token_endpoint(service, demo)


def add_refused_files_endpoint(service: Service, demo: gr.Blocks) -> None:
    async def list_refused_files(_: gr.Request) -> list[JsonObject]:
        with raise_as_gradio_error():
            return [file.model_dump() for file in await asyncio.to_thread(service.model_manager.list_refused_files)]

    summary = "Lists the files in the models folder that cannot be used, each with the reason."
    add_endpoint(demo, list_refused_files, "list_refused_files", summary, {}, "files")


def add_wildcards_endpoint(service: Service, demo: gr.Blocks) -> None:
    async def list_wildcards(_: gr.Request) -> list[JsonObject]:
        with raise_as_gradio_error():
            return [info.model_dump() for info in await asyncio.to_thread(service.model_manager.list_wildcards)]

    summary = "Lists the wildcards. A prompt has a line of one by its name, such as __colors__."
    add_endpoint(demo, list_wildcards, "list_wildcards", summary, {}, "wildcards")


def add_token_endpoint(service: Service, demo: gr.Blocks) -> None:
    async def count_tokens(prompt: object, model: object, seed: object, _: gr.Request) -> JsonObject:
        with raise_as_gradio_error():
            sent = {"prompt": prompt, "seed": seed} | ({} if model is None else {"model": model})
            body = parse_model(CountedPrompt, sent)
            length = await asyncio.to_thread(service.model_manager.measure_prompt, body.model, body.prompt, body.seed)
        return length.model_dump()

    prompt = Parameter("prompt", Parameter.POSITIONAL_OR_KEYWORD, annotation=str)
    model = Parameter("model", Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=str | None)
    seed = Parameter("seed", Parameter.POSITIONAL_OR_KEYWORD, default=0, annotation=int)
    fields = CountedPrompt.model_fields
    parameters = {
        prompt: "A prompt.",
        model: fields["model"].description or "",
        seed: fields["seed"].description or "",
    }
    add_endpoint(demo, count_tokens, "count_tokens", "Counts the tokens of a prompt for a model.", parameters, "length")


class ResourceEndpoints:
    """Three endpoints for one kind of resource: list, load, unload."""

    def __init__(self, service: Service, name: str) -> None:
        self.resource = service.resources[name]

    def register(self, demo: gr.Blocks) -> None:
        name, where = self.resource.name, self.resource.reference_help
        reference = Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, annotation=str)
        delete = Parameter("delete", Parameter.POSITIONAL_OR_KEYWORD, default=False, annotation=bool)
        plural = f"{name}s"
        load_summary = f"Loads a {name}, from the Hub if it is not on disk; reports its progress in bytes."
        add_endpoint(
            demo, self.list_all, f"list_{plural}", f"Lists the {plural}, with all that is known about them.", {}, plural
        )
        add_endpoint(demo, self.load, f"load_{name}", load_summary, {reference: where}, name)
        add_endpoint(
            demo,
            self.unload,
            f"unload_{name}",
            self.resource.unload_help,
            {reference: where, delete: DELETE_HELP},
            "unloaded",
        )

    async def list_all(self, _: gr.Request) -> list[JsonObject]:
        with raise_as_gradio_error():
            return [item.model_dump() for item in await asyncio.to_thread(self.resource.list_all)]

    async def load(self, reference: str, http: gr.Request) -> JsonObject:
        with raise_as_gradio_error():
            self.check_reference(reference)
            progress, resource_id = gr.Progress(), reference
            async with aclosing(self.resource.load(reference, get_user(http))) as load_events:
                async for load_progress in load_events:
                    share = (
                        load_progress.received / load_progress.size
                        if load_progress.received is not None and load_progress.size
                        else 0
                    )
                    progress(share, desc=describe_load_progress(load_progress))
                    resource_id = load_progress.id
            return (await asyncio.to_thread(self.resource.get, resource_id)).model_dump()

    def check_reference(self, reference: object) -> None:
        """Gradio does not check the types that it publishes. Raises InvalidRequest."""
        if not isinstance(reference, str) or not reference.strip():
            raise InvalidRequest(self.resource.name, "must be a name")

    async def unload(self, reference: str, delete: bool, http: gr.Request) -> JsonObject:
        with raise_as_gradio_error():
            self.check_reference(reference)
            if not isinstance(delete, bool):
                raise InvalidRequest("delete", "must be true or false")
            await self.resource.unload(reference, get_user(http), delete)
        return {"unloaded": reference, "deleted": delete}


def add_endpoint(
    demo: gr.Blocks,
    handler: Any,
    name: str,
    summary: str,
    parameters: dict[Parameter, str],
    result: str,
    returns: Any = None,
) -> None:
    """Adds an endpoint with a help text for each parameter. `returns` is the type of its result, else it is JSON."""

    async def call(*arguments: Any) -> Any:
        return await handler(*arguments)

    help_texts = {parameter.name: text for parameter, text in parameters.items()}
    json_type = list[JsonObject] if name.startswith("list_") else JsonObject
    set_signature(call, name, summary, list(parameters), help_texts, returns or json_type)
    function = demo.fns[gr.api(call, api_name=name)["id"]]
    for control, (label, text) in zip(function.inputs, help_texts.items(), strict=True):
        document_component(control, label, text)
    for control in function.outputs:
        document_component(control, result, None)
