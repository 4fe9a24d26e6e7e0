"""Controls for a request: the page decides the layout, the request decides names, types, ranges and help."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar, get_args

import gradio as gr
from gradio.components import Component
from pydantic import ValidationError

from imagegen.errors import InvalidRequest
from imagegen.schema.adapter_fields import check_architecture
from imagegen.schema.base import User
from imagegen.schema.embedding_words import find_used_embeddings
from imagegen.schema.field_types import MAX_LORAS
from imagegen.schema.input_images import ENTRY_IMAGES
from imagegen.schema.models import MODEL_DEFAULT_FIELDS, AdapterKind, UpscalerField
from imagegen.schema.receipt import NOT_IN_RECEIPT, Receipt
from imagegen.schema.request import INPUT_IMAGES, REQUIRES, GenerationRequest, LoraUse, list_task_fields
from imagegen.schema.tasks import TASKS, TaskName
from imagegen.schema.validation import parse_request
from imagegen.service import Service
from ui.components.control_facts import render_control_facts
from ui.components.events import UNQUEUED_EVENT
from ui.components.html import create_html
from ui.components.prompt_facts import render_prompt_facts
from ui.components.reference_facts import render_reference_facts
from ui.control_updates import (
    NO_CHOICE,
    Updates,
    build_control_updates,
    build_detector_update,
    build_upscaler_updates,
    build_vae_update,
    filter_fitting_adapters,
    find_unsupported_fields,
    set_update_value,
)
from ui.messages import get_label
from ui.schema_limits import SCHEMA_PROPERTIES, get_field_schema
from ui.uploaded_images import store_uploads
from ui.workspace.lora_stack import LoraStack
from ui.workspace.size_controls import SizeControls

ADAPTER_KINDS: tuple[AdapterKind, ...] = get_args(AdapterKind)
# Lists of pictures with settings: scripts of the page show them, and put them into hidden fields as JSON.
PICTURE_LISTS = tuple(ENTRY_IMAGES)
# Fields for the name of what is on disk; they stay open for what the studio or the model has itself.
OPTIONAL_NAMES = (*get_args(UpscalerField), "vae", "detail_detector")
C = TypeVar("C", bound=Component)
# The fields for masks.
MASKS = frozenset(name for name, image in INPUT_IMAGES.items() if image.mode == "mask")

# A picture that is extended has a size of its own.
SIZE_FIELDS = ("width", "height")


class Form:
    """The controls for the fields of all tasks. Fields that the model fills in show the model's default.

    A hidden control, `tool`, holds the name of the chosen task: the request has the fields of this task. The values of
    the controls are not checked here but by `parse_request`, with the same error messages as in the APIs. Fields that
    the chosen model cannot use are hidden, and left out of the request.
    """

    def __init__(self, service: Service) -> None:
        self.service, self.images = service, service.images
        self.tool: gr.Textbox
        self.tool_tabs: gr.Tabs
        self.sizes: SizeControls
        self.controls: dict[str, Component] = {}
        # The sections by the field that the others in them require.
        self.sections: dict[str, gr.Accordion] = {}
        self.lora_stack: LoraStack | None = None
        self._number_fields: set[str] = set()
        self._list_fields: set[str] = set()
        self._optional_texts: set[str] = set()
        self._model = service.model_manager.get_default()
        # The id of the model that the controls were last adapted to. It is created with the model dropdown, inside the
        # tab: a state between the tabs breaks them.
        self.suited_model: gr.State
        # What prompt.js, control_units.js and reference_pictures.js must know of the chosen model.
        self.prompt_facts: gr.HTML
        self.control_facts: gr.HTML
        self.reference_facts: gr.HTML
        self._defaults = {name: field.default for name, field in GenerationRequest.model_fields.items()}
        self._defaults |= self._model.model_dump(include=set(MODEL_DEFAULT_FIELDS)) | {"model": self._model.id}

    def tool_choice(self) -> gr.Tabs:
        """Adds the tabs of the tasks. The controls of all tasks are below them: see ui.components.tool_styles."""
        self.tool = gr.Textbox(next(iter(TASKS)), visible="hidden")
        self.tool_tabs = gr.Tabs(elem_classes="tools")
        return self.tool_tabs

    def choose_task(self, task: TaskName) -> Updates:
        """Returns the updates that open the tab of a task."""
        return {self.tool: task, self.tool_tabs: gr.Tabs(selected=task)}

    def textbox(self, name: str, **options: Any) -> gr.Textbox:
        return self._add_control(name, gr.Textbox, **options)

    def number(self, name: str, **options: Any) -> gr.Textbox:
        """Adds a control for a whole number that may stay open. Gradio's number control shows 0 when it is empty."""
        self._number_fields.add(name)
        return self._add_control(name, gr.Textbox, **options)

    def text_list(self, name: str, **options: Any) -> gr.Textbox:
        """Adds a control for a list of texts, one on each line."""
        self._list_fields.add(name)
        return self._add_control(name, gr.Textbox, value="", **options)

    def slider(self, name: str, step: float, **options: Any) -> gr.Slider:
        limits = get_field_schema(name)
        options = {"minimum": limits.get("minimum", step), "maximum": limits["maximum"]} | options
        return self._add_control(name, gr.Slider, step=step, **options)

    def optional_dropdown(self, name: str, **options: Any) -> gr.Dropdown:
        """Adds choices for a text that may stay open: the choice "" leaves it open."""
        self._optional_texts |= {name}
        return self._add_control(name, gr.Dropdown, **options)

    def dropdown(self, name: str, **options: Any) -> gr.Dropdown:
        choices = [(value[:1].upper() + value[1:], value) for value in get_field_schema(name).get("enum", ())]
        return self._add_control(name, gr.Dropdown, **{"choices": choices} | options)

    def size_controls(self) -> SizeControls:
        self.sizes = SizeControls(self._model)
        return self.sizes

    def model_dropdown(self) -> gr.Dropdown:
        self.suited_model = gr.State(self._model.id)
        self.prompt_facts = create_html(render_prompt_facts(self._model, []), elem_classes="prompt-facts")
        return self.dropdown("model", choices=[(self._model.name, self._model.id)], info=None)

    def lora_controls(self) -> gr.Dropdown:
        names = self.dropdown(
            "loras", choices=[], value=[], multiselect=True, max_choices=MAX_LORAS, label="LoRAs", info=None
        )
        self.lora_stack = LoraStack(names, self.get_trigger_words)
        return names

    def control_units(self) -> None:
        """Adds the pictures to follow, which control_units.js shows."""
        units = self._add_picture_list("controls")
        self.control_facts = create_html(render_control_facts([]), elem_classes="control-facts")
        create_html("", elem_classes="control-units picture-units")
        units.change(None, units, None, js="(text) => StudioControls.read(text)", **UNQUEUED_EVENT)

    def reference_pictures(self) -> None:
        """Adds the reference pictures, which reference_pictures.js shows."""
        units = self._add_picture_list("references")
        self.reference_facts = create_html(render_reference_facts(self._model, []), elem_classes="reference-facts")
        create_html("", elem_classes="reference-pictures picture-units")
        units.change(None, units, None, js="(text) => StudioReferences.read(text)", **UNQUEUED_EVENT)

    def section(self, name: str, label: str) -> None:
        """Adds a section for a field and for those that require it. It is closed at first, and shows what is set.

        It is hidden where the model cannot use the field.
        """
        with gr.Accordion(label, open=False, elem_id=f"section-{name}", elem_classes="closable") as section:
            for field in list_section_fields(name):
                self.add_control(field)
        self.sections[name] = section
        show = f'(value) => StudioSections.show("{name}", value, {json.dumps(self._defaults[name])})'
        control = self.controls[name]
        control.change(None, control, None, js=show, **UNQUEUED_EVENT)  # type: ignore[attr-defined]

    def _add_picture_list(self, name: str) -> gr.Textbox:
        return self._add_control(name, gr.Textbox, value="", visible="hidden")

    def get_default(self, field: str) -> Any:
        """Returns the value of a field that nobody has changed yet."""
        return self._defaults[field]

    def get_trigger_words(self, lora: str) -> Sequence[str]:
        """Returns the trigger words of a LoRA, none of one that is gone. Reads the disk."""
        with suppress(InvalidRequest):
            return self.service.model_manager.library.adapters["lora"].get(lora).info.trigger
        return ()

    def embedding_dropdown(self) -> gr.Dropdown:
        return self.dropdown("embeddings", choices=[], value=[], multiselect=True, visible=False)

    def image(self, name: str, **options: Any) -> Component:
        """Adds a control for an input picture. A mask is painted: mask_editor.js puts its id into a hidden field."""
        if name in MASKS:
            return self._add_control(name, gr.Textbox, value="", visible="hidden")
        return self._add_control(name, gr.Image, type="filepath", image_mode=None, buttons=[], **options)

    def checkbox(self, name: str, **options: Any) -> gr.Checkbox:
        return self._add_control(name, gr.Checkbox, **options)

    def add_remaining_controls(self) -> None:
        """Adds a control for each field that has none yet."""
        for name in GenerationRequest.model_fields:
            if name not in self.controls:
                self.add_control(name)

    def add_control(self, name: str) -> None:
        """Adds the control that suits the type of a field."""
        if name in OPTIONAL_NAMES:
            self.optional_dropdown(name, choices=[NO_CHOICE], value="")
        elif stays_open(name):
            self.number(name, placeholder="New each time")
        else:
            self._add_control_by_type(name, get_field_schema(name))

    def _add_control_by_type(self, name: str, schema: Mapping[str, Any]) -> None:
        match schema:
            case {"enum": _}:
                self.dropdown(name)
            case {"type": "integer" | "number" as number_type, "maximum": _}:
                self.slider(name, step=1 if number_type == "integer" else 0.05)
            case {"type": "boolean"}:
                self.checkbox(name)
            case {"type": "array"}:
                self.text_list(name)
            case _:
                self._optional_texts |= {name} if "anyOf" in SCHEMA_PROPERTIES[name] else set()
                self.textbox(name)

    @property
    def inputs(self) -> list[Component]:
        return [self.tool, *self.controls.values(), *self.weight_sliders]

    @property
    def outputs(self) -> list[Any]:
        """The components that change when a model is chosen or settings are reused."""
        return [
            *self.inputs,
            *self.sections.values(),
            self.tool_tabs,
            self.suited_model,
            self.prompt_facts,
            self.control_facts,
            self.reference_facts,
            self.sizes.area,
            self.sizes.facts,
            *([self.lora_stack.shown_names] if self.lora_stack else []),
        ]

    def read_fields(self, values: Sequence[Any]) -> dict[str, Any]:
        """Returns the values of the chosen task's controls by field, unchecked, with pictures as files.

        `values` are those of `inputs`. Raises InvalidRequest for an unknown task.
        """
        tool, *others = values
        count = len(self.controls)
        fields = dict(zip(self.controls, others[:count], strict=True))
        fields |= {name: parse_number(fields[name]) for name in self._number_fields}
        fields |= {name: parse_lines(fields[name]) for name in self._list_fields}
        fields |= {name: fields[name] or None for name in (*self._optional_texts, *MASKS) if name in fields}
        fields |= {name: parse_entries(fields.get(name)) for name in PICTURE_LISTS}
        fields |= {"loras": LoraStack.to_lora_uses(fields.get("loras"), others[count:])}
        own = list_shown_fields(parse_task(tool))
        return {name: value for name, value in fields.items() if name in own}

    async def build_request(self, values: Sequence[Any], user: User) -> GenerationRequest:
        """Returns the request in the controls, with its input pictures stored. Raises InvalidRequest."""
        fields = await store_uploads(self.service, self.read_fields(values), user)
        model, _ = await asyncio.to_thread(self.service.model_manager.resolve_model, fields.get("model"))
        supported_fields = {name: value for name, value in fields.items() if name not in find_unsupported_fields(model)}
        return parse_request(leave_out_unused(supported_fields), parse_task(values[0]))

    @property
    def weight_sliders(self) -> Sequence[gr.Slider]:
        return self.lora_stack.weight_sliders if self.lora_stack else ()

    async def fill_from_fields(self, fields: Mapping[str, Any]) -> Updates:
        """Returns the updates that put fields of an earlier visit or of a link into the form.

        Values that no control can show are left out, and a model that is gone is replaced by the default one. The rest
        is checked when the form is sent.
        """
        reference = fields.get("model")
        selected, updates = await self.list_model_choices(reference if isinstance(reference, str) else self._model.id)
        updates |= await self.adapt_to_model(selected, selected_loras=[], defaults=True)
        for name, control in self.controls.items():
            value = self._to_control_value(name, fields.get(name))
            if name not in ("model", "loras") and is_shown_by(value, control, updates.get(control)):
                updates[control] = set_update_value(updates.get(control), value)
        return updates | self._show_loras(updates, parse_lora_uses(fields.get("loras")))

    async def restore_values(self, values: Sequence[Any]) -> Updates:
        """Returns the updates that give all controls earlier values of `inputs`. Raises InvalidRequest."""
        tool, *others = values
        by_name = dict(zip(self.controls, others, strict=False))
        updates = await self.adapt_to_model(by_name["model"]) | self.choose_task(parse_task(tool))
        for name, control in self.controls.items():
            value = by_name[name]
            if isinstance(control, gr.Image):
                value = value and value["path"]
            updates[control] = set_update_value(updates.get(control), value)
        uses = LoraStack.to_lora_uses(by_name.get("loras"), others[len(self.controls) :])
        return updates | self._show_loras(updates, parse_lora_uses(uses))

    def _to_control_value(self, name: str, value: Any) -> Any:
        """Returns the value of a field as its text control shows it."""
        if name in self._number_fields and isinstance(value, int):
            return str(value)
        if name in self._list_fields and isinstance(value, list):
            return "\n".join(map(str, value))
        return write_entries(value) if name in PICTURE_LISTS and isinstance(value, list) else value

    async def fill_from_receipt(self, receipt: Receipt) -> Updates:
        """Returns the updates that make the form repeat one picture. Raises InvalidRequest for an unknown model.

        The controls that the picture's task does not use stay as they are.
        """
        values = receipt.model_dump() | {name: self._defaults[name] for name in NOT_IN_RECEIPT}
        model = receipt.model_id or self._model.id
        values |= {name: write_entries(receipt.to_request_fields().get(name)) for name in PICTURE_LISTS}
        values |= {"model": model, "embeddings": [used.embedding for used in receipt.embeddings]}
        for name in INPUT_IMAGES.keys() - MASKS:
            values[name] = values[name] and str(self.images.input_path(values[name]))
        values |= {name: "\n".join(values[name]) for name in self._list_fields}
        values |= {name: values[name] or "" for name in OPTIONAL_NAMES}
        updates = await self.adapt_to_model(model)
        for name in set(list_task_fields(receipt.task)) & self.controls.keys() - {"loras"}:
            control = self.controls[name]
            updates[control] = set_update_value(updates.get(control), values[name])
        return updates | self.choose_task(receipt.task) | self._show_loras(updates, receipt.loras)

    async def adapt_to_model(
        self, reference: str, selected_loras: Sequence[str] | None = None, defaults: bool = False
    ) -> Updates:
        """Returns the updates that adapt the form to a model. Raises InvalidRequest.

        Those of `selected_loras` that fit the model stay selected; `defaults` also sets the model's own values.
        """
        manager = self.service.model_manager
        model, _ = await asyncio.to_thread(manager.resolve_model, reference)
        loras, embeddings, controlnets, ip_adapters, vaes, detectors, _ = [
            filter_fitting_adapters(await asyncio.to_thread(manager.list_adapters, kind), model)
            for kind in ADAPTER_KINDS
        ]
        upscalers = await asyncio.to_thread(manager.list_upscalers)
        updates = build_control_updates(model, loras, embeddings)
        updates |= build_upscaler_updates(upscalers, model)
        updates["detail_detector"] |= build_detector_update(detectors)
        if selected_loras is not None:
            fits = {adapter.id for adapter in loras}
            updates["loras"]["value"] = [name for name in selected_loras if name in fits]
        if defaults:
            for name in MODEL_DEFAULT_FIELDS:
                updates[name] = updates.get(name, {}) | {"value": getattr(model, name)}
        updates["vae"] = build_vae_update(vaes, model, is_new_model=defaults)
        shown: Updates = {
            self.controls[name]: gr.update(**facts) for name, facts in updates.items() if name in self.controls
        }
        facts = {
            self.prompt_facts: render_prompt_facts(model, [*loras, *embeddings]),
            self.control_facts: render_control_facts(controlnets),
            self.reference_facts: render_reference_facts(model, ip_adapters),
        }
        unsupported = find_unsupported_fields(model)
        shown |= {section: gr.update(visible=name not in unsupported) for name, section in self.sections.items()}
        return shown | {self.suited_model: reference} | facts | self.sizes.adapt(model)

    async def add_adapter(
        self, reference: str, model: str, selected: Sequence[list[str] | None], prompt: str | None = None
    ) -> Updates:
        """Returns the updates that add an adapter to the `selected` LoRAs and embeddings.

        `reference` is the adapter's kind and its id, with a space between them. The word of an embedding is added to
        the `prompt`, if there is one without it. Raises InvalidRequest for an adapter that does not fit.
        """
        name, _, adapter = reference.partition(" ")
        kind: AdapterKind = "embedding" if name == "embedding" else "lora"
        field = "loras" if kind == "lora" else "embeddings"
        info, _ = await asyncio.to_thread(self.service.model_manager.resolve_model, model)
        source = await asyncio.to_thread(self.service.model_manager.library.adapters[kind].get_source, adapter)
        check_architecture(field, source, info)
        updates = await self.adapt_to_model(model)
        names = selected[0 if kind == "lora" else 1] or []
        chosen = [*(name for name in names if name != adapter), adapter]
        updates |= {self.controls[field]: set_update_value(updates[self.controls[field]], chosen)}
        if kind == "embedding" and prompt is not None and not find_used_embeddings([prompt], {adapter: source.trigger}):
            updates[self.controls["prompt"]] = gr.update(value=", ".join(filter(None, (prompt, source.trigger[0]))))
        return updates

    async def list_model_choices(self, current: str) -> tuple[str, Updates]:
        """Returns the model to select, the current one if it is still on disk, and the update of the list of models."""
        statuses = await asyncio.to_thread(self.service.model_manager.list_models)
        ready = [each.model for each in statuses if each.state in ("on disk", "in memory")]
        selected_model = current if current in {model.id for model in ready} else self._model.id
        choices = [(model.name, model.id) for model in ready]
        return selected_model, {self.controls["model"]: gr.update(choices=choices, value=selected_model)}

    def _show_loras(self, updates: Updates, uses: Sequence[LoraUse]) -> Updates:
        if self.lora_stack is None:
            return {}
        lora_updates = self.lora_stack.show_loras(uses)
        return lora_updates | {
            self.lora_stack.dropdown: set_update_value(
                updates.get(self.lora_stack.dropdown), lora_updates[self.lora_stack.dropdown]
            )
        }

    def _add_control(self, name: str, component: type[C], **options: Any) -> C:
        facts = {
            "label": get_label(name),
            "info": GenerationRequest.model_fields[name].description,
            "value": self._defaults[name],
            "elem_id": f"field-{name}",
        }
        if GenerationRequest.model_fields[name].is_required():
            del facts["value"]
        known = inspect.signature(component.__init__).parameters
        control = component(**{fact: value for fact, value in facts.items() if fact in known} | options)
        self.controls[name] = control
        return control


def list_section_fields(name: str) -> tuple[str, ...]:
    """Returns the fields of a section: the one that it is named after, and those that require it."""
    return (name, *(field for field, requires in REQUIRES.items() if requires.field == name))


def list_shown_fields(task: TaskName) -> tuple[str, ...]:
    """Returns the fields that the form shows for a task."""
    return tuple(name for name in list_task_fields(task) if name not in SIZE_FIELDS or not TASKS[task].fields)


def parse_task(name: Any) -> TaskName:
    """Returns the name of a task. Raises InvalidRequest."""
    for task in TASKS:
        if task == name:
            return task
    raise InvalidRequest("tool", f"must be one of {', '.join(TASKS)}")


def leave_out_unused(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields without those that require another one which asks for nothing."""
    defaults = {name: field.default for name, field in GenerationRequest.model_fields.items()}
    unused = {name for name, requires in REQUIRES.items() if fields.get(requires.field) == defaults[requires.field]}
    return {name: value for name, value in fields.items() if name not in unused}


def stays_open(name: str) -> bool:
    """Returns whether a field is a whole number that may be left open in the form: the model has no default for it."""
    is_optional = "anyOf" in SCHEMA_PROPERTIES[name] and name not in MODEL_DEFAULT_FIELDS
    return is_optional and get_field_schema(name).get("type") == "integer"


def parse_number(text: str | None) -> int | str | None:
    """Returns the number, or the text if it is none, which the request then refuses."""
    text = (text or "").strip()
    try:
        return int(text) if text else None
    except ValueError:
        return text


def is_shown_by(value: Any, control: Component, update: Mapping[str, Any] | None = None) -> bool:
    """Returns whether a control can show a value that comes from outside. None leaves it as it is.

    `update` is what the control gets, which may have its choices.
    """
    match control:
        case gr.Slider():
            return isinstance(value, int | float) and not isinstance(value, bool)
        case gr.Checkbox():
            return isinstance(value, bool)
        case gr.Dropdown(multiselect=True):
            return isinstance(value, list) and all(isinstance(entry, str) for entry in value)
        case gr.Dropdown() if update is not None and "choices" in update:
            return value in [choice if isinstance(choice, str) else choice[1] for choice in update["choices"]]
        case gr.Radio():
            return isinstance(value, int | float | str) and value in [entry for _, entry in control.choices]
    return isinstance(value, str)


def parse_lora_uses(value: Any) -> list[LoraUse]:
    """Returns the LoRAs of a value that comes from outside; those that are none are left out."""
    uses = []
    for entry in value if isinstance(value, list) else []:
        with suppress(ValidationError):
            uses.append(LoraUse.model_validate(entry))
    return uses[:MAX_LORAS]


def parse_entries(text: Any) -> Any:
    """Returns the list in a hidden field; text that is no JSON as it is, which the request then refuses."""
    try:
        return json.loads(text) if text else []
    except (ValueError, RecursionError):
        return text


def write_entries(uses: Any) -> str:
    """Returns a list as a hidden field has it."""
    return json.dumps(uses) if uses else ""


def parse_lines(text: str | None) -> list[str]:
    return [line.strip() for line in (text or "").split("\n") if line.strip()]
