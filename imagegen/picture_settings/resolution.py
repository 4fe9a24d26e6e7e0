"""Turns the settings that a reader found into fields of a request, and says what became of each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Set
from typing import Any

from imagegen.errors import InvalidRequest
from imagegen.languages.translation import fill_in
from imagegen.library.detectors import FACE_MODEL_PATTERN, FACES
from imagegen.media.metadata import notes
from imagegen.media.metadata.found import (
    FoundSampler,
    FoundSettings,
    NamedFile,
    ResourceKind,
    Setting,
    list_objects,
    to_number,
)
from imagegen.media.metadata.sampler_names import add_schedule, split_sampler
from imagegen.model_manager import ModelManager
from imagegen.picture_settings.local_files import LocalFiles, Match
from imagegen.picture_settings.prompts import EMBEDDING_PATTERN, convert_prompt
from imagegen.schema.field_types import LATENT_UPSCALER, MAX_LORAS, MIN_SIDE
from imagegen.schema.input_images import find_image_values
from imagegen.schema.models import ModelInfo
from imagegen.schema.picture_settings import FieldStatus, PictureField, PictureSettings
from imagegen.schema.request import GenerationRequest
from imagegen.schema.validation import find_capability_problems, parse_request
from imagegen.text import truncate

PROPERTIES: Mapping[str, Any] = GenerationRequest.model_json_schema()["properties"]
# Settings that the studio has, but not without a picture.
NEEDED_PICTURES = (notes.NEEDS_START_IMAGE, notes.NEEDS_PICTURE)
MAX_FOUND_CHARS = 300
# Settings that are listed. A file could have any number.
MAX_FIELDS = 200
SIZE_FIELDS = ("width", "height")
TEXT_FIELDS = ("prompt", "negative_prompt", "detail_prompt", "detail_label")
# The kinds of settings that are files, and the request's fields for them.
FILE_FIELDS: Mapping[ResourceKind, str] = {"lora": "loras", "embedding": "embeddings", "vae": "vae"}
UPSCALER_FIELDS = ("upscaler", "hires_upscaler")
# The lists whose entries name a file each.
ENTRY_FILES: Mapping[str, tuple[ResourceKind, str]] = {
    "controls": ("controlnet", "controlnet"),
    "references": ("ip_adapter", "ip_adapter"),
}


class Resolution:
    """`model` is used for a picture that names no model on disk. `gone` are ids of pictures that the user has not.

    Reads the disk.
    """

    def __init__(self, manager: ModelManager, model: ModelInfo, gone: Set[str] = frozenset()) -> None:
        self.manager, self.model, self.gone = manager, model, gone
        self.files = LocalFiles(manager)
        self.settings: dict[str, Any] = {}
        self.fields: list[PictureField] = []
        self._resolvers: Mapping[str, Callable[[Setting], None]] = {
            "model": self._add_model,
            "sampler": self._add_sampler,
            "size": self._add_size,
            "clip_layer": self._add_clip_layer,
            "detail_detector": self._add_detector,
            **dict.fromkeys(TEXT_FIELDS, self._add_text),
            **dict.fromkeys(FILE_FIELDS, self._add_file),
            **dict.fromkeys(UPSCALER_FIELDS, self._add_upscaler),
        }

    def resolve(self, found: FoundSettings) -> PictureSettings:
        # What can be used depends on the model.
        ordered = sorted(found.settings, key=lambda setting: setting.kind != "model")
        for setting in ordered:
            if len(self.fields) < MAX_FIELDS:
                self._add(setting)
        self.settings.setdefault("prompt", "")
        self._check()
        names = list(PROPERTIES)
        shown = sorted(self.fields, key=lambda each: names.index(each.field) if each.field else len(names))
        settings = {name: self.settings[name] for name in names if name in self.settings}
        version = truncate(found.version, 100) if found.version else None
        return PictureSettings(tool=found.tool, version=version, settings=settings, fields=tuple(shown))

    def _add(self, setting: Setting) -> None:
        if setting.kind is None:
            self._report(setting, None, note=setting.note or notes.NO_SUCH_SETTING)
        elif setting.note in NEEDED_PICTURES:
            self._report(setting, setting.kind, note=setting.note)
        elif setting.kind in self.settings and setting.kind not in FILE_FIELDS:
            return  # The first one counts.
        elif setting.kind in self._resolvers:
            self._resolvers[setting.kind](setting)
        elif is_number_field(setting.kind):
            self._add_number(setting, setting.kind, setting.value)
        else:
            self._add_other(setting, setting.kind)

    def _report(
        self, setting: Setting, field: str | None, status: FieldStatus = "missing", value: Any = None, note: str = ""
    ) -> None:
        """Lists a setting; without a status, as one that is missing."""
        self.fields.append(
            PictureField(
                field=field,
                value=value,
                source=truncate(setting.name, MAX_FOUND_CHARS),
                found=truncate(to_text(setting.found), MAX_FOUND_CHARS),
                status=status,
                note=note,
            )
        )

    def _set(self, setting: Setting, field: str, value: Any, note: str = "") -> None:
        """Sets a field; with a note, to something that differs from what was found."""
        self.settings[field] = value
        self._report(setting, field, "mapped" if note else "matched", value, note)

    def _add_text(self, setting: Setting) -> None:
        assert setting.kind is not None
        if not isinstance(setting.value, str):
            return self._report(setting, setting.kind, note=notes.NOT_VALID)
        text = self._add_embeddings(setting, setting.value)
        converted = convert_prompt(text)
        self._set(setting, setting.kind, converted.text, converted.note or setting.note)
        for tag in converted.unknown_tags:
            self._report(Setting(setting.name, tag), None, note=notes.UNKNOWN_TAG)
        return None

    def _add_embeddings(self, setting: Setting, text: str) -> str:
        """Adds the textual inversions in a prompt of ComfyUI. Returns the prompt with their words alone."""
        for name in dict.fromkeys(EMBEDDING_PATTERN.findall(text)):
            self._add_file(Setting(setting.name, f"embedding:{name}", "embedding", NamedFile(name)))
        return EMBEDDING_PATTERN.sub(lambda match: NamedFile(match[1]).stem, text)

    def _add_number(self, setting: Setting, field: str, value: Any, note: str = "") -> None:
        """Sets a field to a number, or to the nearest one that is possible. Another seed is never near."""
        number = to_number(value)
        if number is None:
            return self._report(setting, field, note=notes.NO_NUMBER)
        schema = get_schema(field)
        if schema["type"] == "integer":
            # Seeds are whole numbers of more digits than those of a float.
            number = value if isinstance(value, int) else int(value) if is_whole(value) else round(number)
        least, most = schema.get("minimum", schema.get("exclusiveMinimum")), schema["maximum"]
        nearest = min(max(number, least), most)
        if nearest != number and field in ("seed", "variation_seed"):
            return self._report(setting, field, note=fill_in(notes.LARGE_SEED, {"most": most}))
        if nearest == schema.get("exclusiveMinimum"):
            return self._report(setting, field, note=notes.NOT_VALID)
        if nearest != number:
            note = fill_in(notes.LIMITED, {"least": least, "most": most})
        return self._set(setting, field, nearest, note)

    def _add_clip_layer(self, setting: Setting) -> None:
        layer = to_number(setting.value)
        if "clip_skip" not in self.settings:
            self._add_number(setting, "clip_skip", None if layer is None else layer - 1, notes.LAYERS_FROM_ONE)

    def _add_other(self, setting: Setting, field: str) -> None:
        """Sets a field of the studio's own to the value of a receipt."""
        if any(str(image_id) in self.gone for image_id in find_image_values({field: setting.value}).values()):
            return self._report(setting, field, note=notes.PICTURE_GONE)
        if not all(self.files.find(kind, file) for kind, file in list_entry_files(field, setting.value)):
            return self._report(setting, field, note=notes.NOT_HERE)
        return self._set(setting, field, setting.value)

    def _add_sampler(self, setting: Setting) -> None:
        found = setting.value if isinstance(setting.value, FoundSampler) else FoundSampler(to_text(setting.value))
        if found.name in get_schema("sampler")["enum"] and not found.schedule:
            return self._set(setting, "sampler", found.name)
        sampler, schedule = split_sampler(found)
        if sampler is None:
            return self._report(setting, "sampler", note=notes.NO_SAMPLER)
        with_schedule = add_schedule(sampler, schedule)
        if with_schedule is None:
            return self._set(setting, "sampler", sampler, notes.NO_SCHEDULE)
        is_same = found.name == with_schedule or (found.name == sampler and bool(found.schedule))
        return self._set(setting, "sampler", with_schedule, "" if is_same else notes.OTHER_SAMPLER)

    def _add_size(self, setting: Setting) -> None:
        """Sets width and height: multiples of what the model needs, in the same proportions if it is too large."""
        sides = [to_number(side) for side in str(setting.value).casefold().split("x")]
        if len(sides) != 2 or None in sides or min(filter(None, sides), default=0) <= 0:
            return self._report(setting, "width", note=notes.NOT_VALID)
        most, multiple = min(self.model.can.max_side, get_schema("width")["maximum"]), self.model.can.multiple
        factor = min(1.0, most / max(side for side in sides if side is not None))
        for name, side in zip(SIZE_FIELDS, sides, strict=True):
            assert side is not None
            value = max(-(-MIN_SIDE // multiple) * multiple, int(side * factor) // multiple * multiple)
            note = "" if value == side else fill_in(notes.SIDE_MULTIPLE, {"multiple": multiple})
            if factor < 1:
                note = fill_in(notes.LIMITED, {"least": MIN_SIDE, "most": most})
            self._set(setting, name, value, note)
        return None

    def _add_model(self, setting: Setting) -> None:
        match = self.files.find("model", setting.value)
        if match is None:
            return self._report(setting, "model", note=fill_in(notes.NO_MODEL, {"model": self.model.id}))
        self.model, _ = self.manager.resolve_model(match.id)
        return self._set_match(setting, "model", match, match.id)

    def _set_match(self, setting: Setting, field: str, match: Match, value: Any) -> None:
        self.settings.setdefault(field, value)
        self._report(setting, field, match.status, value, match.note)

    def _add_file(self, setting: Setting) -> None:
        """Adds a LoRA or an embedding to its list, or sets another file."""
        kind: Any = setting.kind
        field, file = FILE_FIELDS[kind], setting.value
        match = self.files.find(kind, file)
        if match is None:
            return self._report(setting, field, note=notes.NOT_HERE)
        if kind == "vae":
            return self._set_match(setting, field, match, match.id)
        entries = self.settings.setdefault(field, [])
        value: Any = {"lora": match.id, "weight": file.weight} if kind == "lora" else match.id
        limit = MAX_LORAS if kind == "lora" else PROPERTIES[field]["maxItems"]
        if value in entries or len(entries) >= limit or (kind == "lora" and abs(file.weight) > 4):
            return None if value in entries else self._report(setting, field, note=notes.NOT_VALID)
        entries.append(value)
        return self._report(setting, field, match.status, value, match.note)

    def _add_upscaler(self, setting: Setting) -> None:
        assert setting.kind is not None
        name = to_text(setting.value)
        if setting.kind == "hires_upscaler" and name.casefold().startswith(LATENT_UPSCALER.casefold()):
            note = "" if name == LATENT_UPSCALER else notes.LATENT_FILTER
            return self._set(setting, setting.kind, LATENT_UPSCALER, note)
        match = self.files.find("upscaler", NamedFile(name))
        if match is None:
            return self._report(setting, setting.kind, note=notes.NO_UPSCALER)
        is_filter = match.id == name
        return self._set_match(setting, setting.kind, Match(match.id, "matched") if is_filter else match, match.id)

    def _add_detector(self, setting: Setting) -> None:
        file = setting.value if isinstance(setting.value, NamedFile) else NamedFile(to_text(setting.value))
        if FACE_MODEL_PATTERN.fullmatch(file.name):
            return self._set(setting, "detail_detector", FACES, notes.STUDIO_DETECTOR)
        match = self.files.find("detector", file)
        if match is None:
            return self._report(setting, "detail_detector", note=notes.NOT_HERE)
        return self._set_match(setting, "detail_detector", match, match.id)

    def _check(self) -> None:
        """Leaves out what a request cannot have, and what the model cannot do."""
        for _ in PROPERTIES:
            try:
                request = parse_request(self.settings)
                problems = [(field, "") for field, _ in find_capability_problems(request, self.model)]
            except InvalidRequest as error:
                problems = [(error.field, str(error))]
            if not problems:
                return
            for place, problem in problems:
                note = problem or fill_in(notes.NOT_WITH_MODEL, {"model": self.model.id})
                self._leave_out(place.partition("[")[0], note)

    def _leave_out(self, field: str, note: str) -> None:
        """Without a prompt there is no request: it becomes empty."""
        self.settings.pop(field, None)
        if field == "prompt":
            self.settings["prompt"] = ""
        self.fields = [
            each.model_copy(update={"status": "missing", "value": None, "note": note})
            if each.field == field and each.status != "missing"
            else each
            for each in self.fields
        ]


def list_entry_files(field: str, value: Any) -> Iterator[tuple[ResourceKind, NamedFile]]:
    """Yields the files that the entries of a list in a receipt name."""
    for entry in list_objects(value) if field in ENTRY_FILES else ():
        kind, name = ENTRY_FILES[field]
        if isinstance(entry.get(name), str):
            yield kind, NamedFile(entry[name], entry["sha256"] if isinstance(entry.get("sha256"), str) else "")


def get_schema(field: str) -> Mapping[str, Any]:
    """Returns the JSON schema of a field that is not null."""
    schema: Mapping[str, Any] = PROPERTIES[field]
    return next((option for option in schema.get("anyOf", ()) if option.get("type") != "null"), schema)


def is_number_field(field: str) -> bool:
    return field in PROPERTIES and get_schema(field).get("type") in ("integer", "number")


def is_whole(value: Any) -> bool:
    """Returns whether a value is a text of digits, as int takes it."""
    return isinstance(value, str) and value.strip().lstrip("-").isdecimal() and len(value) < 100


def to_text(value: Any) -> str:
    """Returns a value as text: JSON, unless it is a text."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, default=str)[: 2 * MAX_FOUND_CHARS]
    except (ValueError, RecursionError):
        return "…"
