"""Requests that Gradio's own routes cannot read are refused; errors of its functions are passed on."""

from __future__ import annotations

import re
from typing import Any

import pytest
from gradio_client.utils import construct_args
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from imagegen.api.middleware.gradio_errors import GradioErrors
from imagegen.api.middleware.gradio_sessions import parse_gradio_body
from imagegen.errors import InvalidRequest


async def fail(request: Request) -> Response:
    raise KeyError("fn_index")


async def construct(request: Request) -> Response:
    parameters = [{"parameter_name": "prompt", "parameter_has_default": False}]
    construct_args(parameters, (), await request.json())
    return PlainTextResponse("done")


async def report_error(request: Request) -> Response:
    return JSONResponse({"error": "no picture"}, 500)


async def succeed(request: Request) -> Response:
    return PlainTextResponse("done")


ROUTES = [
    Route(f"/{route.__name__}", route, methods=["GET", "POST"]) for route in (fail, construct, report_error, succeed)
]
PAGE = TestClient(GradioErrors(Starlette(routes=ROUTES)))


def test_a_failure_of_gradio_is_an_invalid_request() -> None:
    with pytest.raises(InvalidRequest, match="body: must be what this route takes"):
        PAGE.post("/fail")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"prompt": "x", "colour": "red"}, "colour: is not a parameter of this endpoint"),
        ({"prompt": "x", "x" * 10**6: 1}, "x…: is not a parameter of this endpoint"),
        ({}, "prompt: is required"),
    ],
)
def test_a_parameter_that_gradio_refuses_is_named(body: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        PAGE.post("/construct", json=body)
    assert re.sub("x+…", "x…", str(caught.value)) == message and len(str(caught.value)) < 300


@pytest.mark.parametrize(("path", "status"), [("/report_error", 500), ("/succeed", 200)])
def test_other_answers_are_passed_on(path: str, status: int) -> None:
    assert PAGE.post(path).status_code == status


def test_a_failure_to_serve_the_page_stays_one() -> None:
    with pytest.raises(KeyError):
        PAGE.get("/fail")


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e400", '"\\ud800"', "[" * 100_000])
def test_what_gradio_could_not_answer_is_refused(value: Any) -> None:
    with pytest.raises(InvalidRequest):
        parse_gradio_body(b'{"data": [' + value.encode() + b"]}")
