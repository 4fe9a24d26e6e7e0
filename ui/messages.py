"""The page's texts for the state of a job, and its errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import gradio as gr

from imagegen.errors import InvalidRequest, map_exception
from imagegen.languages.messages import describe_field_problem, translate_message
from imagegen.languages.translation import format_decimal, mark, translate
from imagegen.schema.events import Result
from imagegen.schema.markers import ImageMode
from imagegen.schema.request import INPUT_IMAGES, GenerationRequest

# The problems of a field without a value, and what to do then about each kind of picture.
MISSING = ("is required", "must not be empty")
IMAGE_ADVICE: Mapping[ImageMode, str] = {
    "rgb": mark("Add a start image."),
    "mask": mark("Paint over what is to change."),
    "rgba": mark("Add the picture to make larger."),
}


@dataclass(frozen=True)
class Problem:
    """An error in words for the user, and the name of the field that it is about."""

    text: str
    field: str = ""


def describe_result(result: Result) -> str:
    if result.pictures[0].receipt.cached:
        return translate("Kept from before")
    return translate("Done in {seconds} s", seconds=format_decimal(result.latency_ms / 1000))


def format_time_left(seconds: float) -> str:
    if seconds < 60:
        return translate("about {seconds} s left", seconds=max(1, round(seconds)))
    return translate("about {minutes} min left", minutes=round(seconds / 60))


@contextmanager
def raise_as_gradio_error() -> Iterator[None]:
    """Raises any error inside as a gr.Error, with the message and the code as its title, and no traceback."""
    try:
        yield
    except Exception as error:
        api_error = map_exception(error)
        raise gr.Error(str(api_error), title=api_error.code, print_exception=False) from None


def describe_problem(error: Exception) -> Problem:
    """Returns an error for the user, with the label of its field, in their language.

    Logs an unexpected error, and hides its details.
    """
    api_error = map_exception(error)
    if isinstance(api_error, InvalidRequest) and (advice := find_advice(api_error)) is not None:
        return Problem(translate(advice), api_error.field)
    if isinstance(api_error, InvalidRequest) and api_error.field in GenerationRequest.model_fields:
        label = translate(get_label(api_error.field))
        return Problem(describe_field_problem(label, api_error.problem), api_error.field)
    return Problem(translate_message(str(api_error)))


def find_advice(error: InvalidRequest) -> str | None:
    """Returns what to do about an error that says that a field has no value, None for other errors."""
    is_known = error.problem in MISSING and error.field in INPUT_IMAGES
    return IMAGE_ADVICE[INPUT_IMAGES[error.field].mode] if is_known else None


def get_label(field: str) -> str:
    """Returns what the page calls a field of the request."""
    return GenerationRequest.model_fields[field].title or field.replace("_", " ").capitalize()
