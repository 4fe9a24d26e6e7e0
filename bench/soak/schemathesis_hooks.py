"""Limits the pictures that schemathesis requests to small ones of one step, so that the run does not take hours."""

from __future__ import annotations

from typing import Any

import schemathesis

CHEAP = {"steps": 1, "num_inference_steps": 1, "width": 64, "height": 64, "batch_size": 1, "n": 1, "n_iter": 1}
OPEN = {"steps": 1, "width": 64, "height": 64}
OPENAI_OPERATIONS = ("generations", "edits", "variations")
PICTURES = ("txt2img", "img2img", "jobs", *OPENAI_OPERATIONS)


@schemathesis.hook
def filter_path_parameters(context: Any, path_parameters: dict[str, Any] | None) -> bool:
    """Returns whether an id leads to the documented route: /v1/images/generations is an address of OpenAI's API."""
    return not path_parameters or path_parameters.get("picture_id") not in OPENAI_OPERATIONS


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    body = case.body
    if case.operation.path.startswith("/hf"):
        case.body = limit_parameters(body)
    if not isinstance(body, dict) or case.operation.path.rpartition("/")[2] not in PICTURES:
        return
    costly = {name: value for name, value in CHEAP.items() if is_costly(body.get(name))}
    of_openai = case.operation.path.startswith("/v1/images")
    left_open = {name: value for name, value in OPEN.items() if name not in body and (name == "steps" or not of_openai)}
    if "num_inference_steps" in body:
        left_open.pop("steps", None)
    case.body = {**body, **left_open, **costly}


def limit_parameters(body: Any) -> Any:
    """Returns a body of Hugging Face's Inference API with cheap parameters; pictures and wrong bodies as they are."""
    parameters = (body.get("parameters") or {}) if isinstance(body, dict) else None
    if not isinstance(parameters, dict):
        return body
    cheap = {"num_inference_steps": 1} | ({} if "target_size" in parameters else {"width": 64, "height": 64})
    costly = {name: value for name, value in cheap.items() if is_costly(parameters.get(name))}
    return {**body, "parameters": {**cheap, **parameters, **costly}}


def is_costly(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 1
