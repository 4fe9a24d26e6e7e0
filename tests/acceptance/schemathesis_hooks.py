"""Keeps what schemathesis sends from taking hours: a request that would make a picture makes a small one, in a step."""

from __future__ import annotations

from typing import Any

import schemathesis

CHEAP = {"steps": 1, "num_inference_steps": 1, "width": 64, "height": 64, "batch_size": 1, "n": 1, "n_iter": 1}
OPEN = {"steps": 1, "width": 64, "height": 64}
PICTURES = ("txt2img", "img2img", "jobs", "generations", "edits", "variations")


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    body = case.body
    if not isinstance(body, dict) or case.operation.path.rpartition("/")[2] not in PICTURES:
        return
    costly = {name: value for name, value in CHEAP.items() if is_costly(body.get(name))}
    of_openai = case.operation.path.startswith("/v1/images")
    left_open = {name: value for name, value in OPEN.items() if name not in body and (name == "steps" or not of_openai)}
    if "num_inference_steps" in body:
        left_open.pop("steps", None)
    case.body = {**body, **left_open, **costly}


def is_costly(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 1
