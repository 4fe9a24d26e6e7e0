"""Controls for a request: the tab decides the layout, the request decides names, ranges and help."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Sequence
from typing import Any, TypeVar

import gradio as gr
from gradio.components import Component

from imagegen.info import AdapterInfo, AdapterKind, ModelInfo
from imagegen.library.architectures import UNKNOWN
from imagegen.schema import LORA_LIMIT, GenerationRequest, Receipt, User
from imagegen.service import Service
from imagegen.validation import check_fit, parse_request
from ui.stack import LoraStack
from ui.uploads import stored_upload

C = TypeVar("C", bound=Component)
Updates = dict[Any, Any]
# What the model decides when it is left open, and shows when it is chosen.
OF_THE_MODEL = ("width", "height", "steps", "guidance_scale", "sampler", "strength")
PROPERTIES = GenerationRequest.model_json_schema()["properties"]


class Form:
    """The fields of a request that one tab offers. What the request leaves to the model shows the model's default.

    The controls hand over what they hold unchecked, so that there is one place that checks and one wording. What the
    chosen model cannot do is not shown, and not asked for.
    """

    def __init__(self, service: Service) -> None:
        self.service, self.images = service, service.images
        self.controls: dict[str, Component] = {}
        self.stack: LoraStack | None = None
        self._numbers: set[str] = set()
        self._lists: set[str] = set()
        self._model = service.stock.default()
        # The model that the controls are suited to. It comes with the list of models, within the tab: among the tabs
        # themselves a state would break them.
        self.suits: gr.State
        self._defaults = {name: field.default for name, field in GenerationRequest.model_fields.items()}
        self._defaults |= self._model.model_dump(include=set(OF_THE_MODEL)) | {"model": self._model.id}

    def textbox(self, name: str, **options: Any) -> gr.Textbox:
        return self._add(name, gr.Textbox, **options)

    def number(self, name: str, **options: Any) -> gr.Textbox:
        """A whole number that may stay open. Gradio's own control for numbers shows 0 when it is empty."""
        self._numbers.add(name)
        return self._add(name, gr.Textbox, **options)

    def lines(self, name: str, **options: Any) -> gr.Textbox:
        """A list of texts, one a line."""
        self._lists.add(name)
        return self._add(name, gr.Textbox, value="", **options)

    def slider(self, name: str, step: float, **options: Any) -> gr.Slider:
        limits = field_schema(name)
        options = {"minimum": limits.get("minimum", step), "maximum": limits["maximum"]} | options
        return self._add(name, gr.Slider, step=step, **options)

    def dropdown(self, name: str, **options: Any) -> gr.Dropdown:
        return self._add(name, gr.Dropdown, **{"choices": field_schema(name).get("enum")} | options)

    def models(self) -> gr.Dropdown:
        self.suits = gr.State(self._model.id)
        return self.dropdown("model", choices=[(self._model.name, self._model.id)], info=None)

    def loras(self) -> gr.Dropdown:
        names = self.dropdown(
            "loras", choices=[], value=[], multiselect=True, max_choices=LORA_LIMIT, label="LoRAs", info=None
        )
        self.stack = LoraStack(names)
        return names

    def embeddings(self) -> gr.Dropdown:
        return self.dropdown("embeddings", choices=[], value=[], multiselect=True, visible=False)

    def image(self, name: str, **options: Any) -> gr.Image:
        return self._add(name, gr.Image, type="filepath", image_mode=None, buttons=[], **options)

    @property
    def inputs(self) -> list[Component]:
        return [*self.controls.values(), *(self.stack.weights if self.stack else [])]

    @property
    def outputs(self) -> list[Any]:
        """All that changes when a model is chosen or settings come back."""
        return [*self.inputs, self.suits, *([self.stack.shown] if self.stack else [])]

    def fields(self, values: Sequence[Any]) -> dict[str, Any]:
        """What the controls hold, good or bad, and also what is not shown; a picture as the page hands it over."""
        count = len(self.controls)
        fields = dict(zip(self.controls, values[:count], strict=True))
        fields |= {name: typed_number(fields[name]) for name in self._numbers}
        fields |= {name: typed_lines(fields[name]) for name in self._lists}
        return fields | {"loras": LoraStack.uses(fields.get("loras"), values[count:])}

    async def request(self, values: Sequence[Any], user: User) -> GenerationRequest:
        """The request that the controls hold. Raises InvalidRequest."""
        fields = self.fields(values)
        if "init_image" in fields:
            fields["init_image"] = await stored_upload(self.service, fields["init_image"], user)
        model, _ = await asyncio.to_thread(self.service.stock.model, fields.get("model"))
        shown = {name: value for name, value in fields.items() if name not in hidden(model)}
        return parse_request(shown)

    async def filled(self, receipt: Receipt) -> Updates:
        """What the controls must hold to make that one picture again. Raises InvalidRequest when its model is gone."""
        values = receipt.model_dump() | {"batch_size": 1, "more_prompts": "", "model": receipt.model_id}
        values |= {"loras": None, "embeddings": [used.embedding for used in receipt.embeddings]}
        if receipt.init_image is not None:
            values["init_image"] = str(self.images.input_path(receipt.init_image))
        updates = await self.suited(receipt.model_id)
        for name, control in self.controls.items():
            if name != "loras":
                updates[control] = with_value(updates.get(control), values[name])
        return updates | self._worn(updates, receipt)

    async def suited(self, reference: str, worn: Sequence[str] | None = None, defaults: bool = False) -> Updates:
        """What the controls must show for a model. Raises InvalidRequest.

        Of the LoRAs that are `worn`, those that fit it stay; `defaults` also brings the model's own values.
        """
        stock = self.service.stock
        model, _ = await asyncio.to_thread(stock.model, reference)
        loras, embeddings = await asyncio.to_thread(lambda: (stock.listed("lora"), stock.listed("embedding")))
        updates = facts(model, fitting(loras, model), fitting(embeddings, model))
        if worn is not None:
            fits = {adapter.id for adapter in fitting(loras, model)}
            updates["loras"]["value"] = [name for name in worn if name in fits]
        if defaults:
            for name in OF_THE_MODEL:
                updates[name] = updates.get(name, {}) | {"value": getattr(model, name)}
        shown = {self.controls[name]: gr.update(**facts) for name, facts in updates.items() if name in self.controls}
        return shown | {self.suits: reference}

    async def with_adapter(
        self, kind: AdapterKind, reference: str, model: str, worn: Sequence[list[str] | None]
    ) -> Updates:
        """One more LoRA or embedding, beside the `worn` of each kind. Raises InvalidRequest when it does not fit."""
        field = "loras" if kind == "lora" else "embeddings"
        info, _ = await asyncio.to_thread(self.service.stock.model, model)
        source = await asyncio.to_thread(self.service.stock.library.adapters[kind].source, reference)
        check_fit(field, source, info)
        updates = await self.suited(model)
        names = worn[0 if kind == "lora" else 1] or []
        chosen = [*(name for name in names if name != reference), reference]
        return updates | {self.controls[field]: with_value(updates[self.controls[field]], chosen)}

    async def choices(self, current: str) -> tuple[str, Updates]:
        """The models that are on disk now, and which of them is chosen: the current one, if it is still there."""
        listed = await asyncio.to_thread(self.service.stock.models)
        ready = [each.model for each in listed if each.state in ("on disk", "in memory") and self._takes(each.model)]
        shown = current if current in {model.id for model in ready} else self._model.id
        choices = [(model.name, model.id) for model in ready]
        return shown, {self.controls["model"]: gr.update(choices=choices, value=shown)}

    def _takes(self, model: ModelInfo) -> bool:
        return "init_image" not in self.controls or model.can.image_to_image

    def _worn(self, updates: Updates, receipt: Receipt) -> Updates:
        if self.stack is None:
            return {}
        worn = self.stack.worn(receipt.loras)
        return worn | {self.stack.names: with_value(updates.get(self.stack.names), worn[self.stack.names])}

    def _add(self, name: str, component: type[C], **options: Any) -> C:
        facts = {
            "label": name.replace("_", " ").capitalize(),
            "info": GenerationRequest.model_fields[name].description,
            "value": self._defaults[name],
        }
        if GenerationRequest.model_fields[name].is_required():
            del facts["value"]
        known = inspect.signature(component.__init__).parameters
        control = component(**{fact: value for fact, value in facts.items() if fact in known} | options)
        self.controls[name] = control
        return control


def hidden(model: ModelInfo) -> set[str]:
    """The fields that this model has no use for."""
    can = model.can
    useful = {
        "negative_prompt": can.negative_prompt,
        "guidance_scale": can.guidance != "none",
        "clip_skip": can.clip_skip,
        "step_cache": can.step_cache,
        "strength": can.strength,
        "loras": can.loras,
        "embeddings": can.embeddings,
    }
    return {name for name, is_useful in useful.items() if not is_useful}


def facts(model: ModelInfo, loras: list[AdapterInfo], embeddings: list[AdapterInfo]) -> dict[str, dict[str, Any]]:
    """What each control shows for a model, by field."""
    unused = hidden(model)
    sometimes = ("negative_prompt", "guidance_scale", "clip_skip", "step_cache", "strength")
    shown: dict[str, dict[str, Any]] = {name: {"visible": name not in unused} for name in sometimes}
    shown["sampler"] = {"choices": list(model.can.samplers)}
    shown["width"] = shown["height"] = {"maximum": model.can.max_side, "step": model.can.multiple}
    for name, adapters in (("loras", loras), ("embeddings", embeddings)):
        choices = [(adapter.name, adapter.id) for adapter in adapters]
        shown[name] = {"choices": choices, "visible": bool(choices) and name not in unused}
    own = ", ".join(use.lora for use in model.loras)
    shown["loras"]["label"] = f"LoRAs beside {own}" if own else "LoRAs"
    return shown


def fitting(adapters: list[AdapterInfo], model: ModelInfo) -> list[AdapterInfo]:
    return [adapter for adapter in adapters if adapter.architecture in (model.architecture, UNKNOWN)]


def with_value(update: dict[str, Any] | None, value: Any) -> dict[str, Any]:
    return (update or gr.update()) | {"value": value}


def typed_number(text: str | None) -> int | str | None:
    """What is no number stays text, for the request to refuse."""
    text = (text or "").strip()
    try:
        return int(text) if text else None
    except ValueError:
        return text


def typed_lines(text: str | None) -> list[str]:
    return [line.strip() for line in (text or "").split("\n") if line.strip()]


def field_schema(name: str) -> dict[str, Any]:
    """The limits of a field as JSON Schema has them; of one that may stay open, the limits for when it does not."""
    schema: dict[str, Any] = PROPERTIES[name]
    return next((option for option in schema.get("anyOf", []) if option["type"] != "null"), schema)
