"""MCP: which tools there are, what they take and refuse. Nothing changes, so that all tests share a studio."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from imagegen.schema.field_types import MAX_STEPS, SamplerName
from tests.unit.in_process_studio import InProcessStudio, run_in_process_studio
from tests.unit.mcp_client import ENDPOINT, HEADERS, PROMPT, McpClient

pytestmark = pytest.mark.asyncio(loop_scope="module")
PLAIN_TYPES = {"integer", "number", "string", "boolean", "array", "object"}
TOOLS = [
    "txt2img", "img2img", "inpaint", "outpaint", "upscale",
    "list_models", "load_model", "unload_model", "list_loras", "load_lora", "unload_lora",
    "list_embeddings", "load_embedding", "unload_embedding", "list_controlnets", "load_controlnet",
    "unload_controlnet", "list_ip_adapters", "load_ip_adapter", "unload_ip_adapter",
    "list_vaes", "load_vae", "unload_vae", "list_detectors", "load_detector", "unload_detector",
    "list_preprocessors", "load_preprocessor", "unload_preprocessor",
    "list_upscalers", "load_upscaler", "unload_upscaler", "list_refused_files", "list_wildcards",
    "list_pictures", "get_picture", "change_picture",
    "delete_picture", "list_jobs", "get_job", "cancel_job", "finish_job", "preprocess", "png_info",
]  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def studio(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[InProcessStudio]:
    folder = tmp_path_factory.mktemp("studio")
    async with run_in_process_studio(
        folder, public_url="https://paint.example/here", requests_per_minute=1000
    ) as studio:
        yield studio


def list_schemas(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the schema of each argument, with those inside."""
    inner = [*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])]
    return [each for argument in inner for each in (argument, *list_schemas(argument))]


async def test_each_argument_has_one_plain_type_and_a_description(studio: InProcessStudio) -> None:
    tools = await McpClient(studio).list_tools()
    assert [tool["name"] for tool in tools] == TOOLS
    for tool in tools:
        schema = tool["inputSchema"]
        assert (schema["type"], schema["additionalProperties"]) == ("object", False)
        for argument in list_schemas(schema):
            assert argument["type"] in PLAIN_TYPES
            assert not {"anyOf", "oneOf", "$ref", "title"} & set(argument)
            assert argument.get("default", ...) is not None
        assert all(argument["description"] for argument in schema["properties"].values())


async def test_arguments_have_their_ranges_choices_and_defaults(studio: InProcessStudio) -> None:
    schemas = {tool["name"]: tool["inputSchema"] for tool in await McpClient(studio).list_tools()}
    properties = schemas["txt2img"]["properties"]
    assert properties["steps"] == {
        "type": "integer", "minimum": 1, "maximum": MAX_STEPS, "description": "More steps: finer, slower.",
    }  # fmt: skip
    assert properties["sampler"]["enum"] == list(SamplerName.__args__)  # type: ignore[attr-defined]
    assert properties["batch_size"]["default"] == 1
    assert properties["loras"]["items"]["properties"]["weight"]["minimum"] == -4
    assert schemas["txt2img"]["required"] == ["prompt"] and "init_image" not in properties
    assert schemas["img2img"]["required"] == ["prompt", "init_image"]
    assert "URL" in schemas["img2img"]["properties"]["init_image"]["description"]
    assert schemas["unload_model"]["required"] == ["model"]
    assert schemas["unload_model"]["properties"]["delete"]["default"] is False


async def test_tools_that_change_nothing_say_so(studio: InProcessStudio) -> None:
    tools = await McpClient(studio).list_tools()
    reading = [tool["name"] for tool in tools if tool["annotations"]["readOnlyHint"]]
    assert reading == [name for name in TOOLS if name.startswith(("list_", "get_", "png_info"))]


async def test_the_address_can_select_tools(studio: InProcessStudio) -> None:
    client, query = McpClient(studio), "?tools=list_jobs,txt2img"
    assert [tool["name"] for tool in await client.list_tools(query)] == ["txt2img", "list_jobs"]
    (answer,) = await client.request("tools/call", query, name="list_models", arguments={})
    assert answer["result"]["content"][0]["text"] == "invalid_request: tool: must be one of txt2img, list_jobs"


async def test_gradios_page_gets_the_tools_in_its_own_form(studio: InProcessStudio) -> None:
    listed = (await studio.client_without_token.get("/gradio_api/mcp/schema")).json()
    assert [tool["name"] for tool in listed] == TOOLS
    assert set(listed[0]) == {"name", "description", "inputSchema", "meta"}
    assert listed[0]["meta"] == {"file_data_present": False, "mcp_type": "tool", "endpoint_name": "txt2img"}


@pytest.mark.parametrize(
    ("tool", "arguments", "problem"),
    [
        ("txt2img", {}, "prompt: is required"),
        ("txt2img", {"prompt": None}, "prompt: is required"),
        ("txt2img", PROMPT | {"colour": "red"}, "colour: is not a field of a request"),
        ("txt2img", PROMPT | {"colour": None}, "colour: is not a field of a request"),
        ("txt2img", PROMPT | {"init_image": "x"}, "init_image: is not a field of a request"),
        ("txt2img", PROMPT | {"steps": 0}, "steps: must be between 1 and 150"),
        ("txt2img", PROMPT | {"steps": "9"}, "steps: must be a number"),
        ("img2img", PROMPT, "init_image: is required"),
        ("img2img", PROMPT | {"init_image": 5}, "init_image: should be a valid string"),
        ("upscale", {}, "image: is required"),
        ("upscale", {"image": "0" * 32, "prompt": "x"}, "prompt: is not a field of a request"),
        ("upscale", {"image": "0" * 32, "scale": 9}, "scale: must be between 1 and 8"),
        ("load_model", {"model": ""}, "model: must not be empty"),
        ("load_model", {"lora": "neon"}, "model: is required"),
        ("list_models", {"model": "embedded"}, "model: is not a field of a request"),
        ("get_job", {}, "job_id: is required"),
        ("paint", {}, f"tool: must be one of {', '.join(TOOLS)}"),
    ],
)
async def test_a_wrong_argument_is_refused_by_name(
    studio: InProcessStudio, tool: str, arguments: dict[str, Any], problem: str
) -> None:
    assert await McpClient(studio).refuse(tool, arguments) == f"invalid_request: {problem}"


@pytest.mark.parametrize(
    "address",
    ["http://other.example/v1/images/{}", "http://paint.example/v1/images/{}/x", "http://127.0.0.1:1/a.png",
     "file:///etc/passwd", "ftp://127.0.0.1/v1/images/{}", "http://[::1/v1/images/{}", "http:///v1/images/{}",
     "http://127.0.0.1@other.example/v1/images/{}", "http://169.254.169.254/latest/meta-data",
     "https://paint.example/elsewhere/v1/images/{}", "http://127.0.0.1/v1/images/../images/{}"],
)  # fmt: skip
async def test_any_other_address_is_refused_by_name(studio: InProcessStudio, address: str) -> None:
    arguments = PROMPT | {"init_image": address.format("0" * 32)}
    problem = await McpClient(studio).refuse("img2img", arguments)
    assert problem == (
        "invalid_request: init_image: must be the address of one of your pictures here; the studio fetches no others"
    )


async def test_an_address_of_an_unknown_picture_is_refused(studio: InProcessStudio) -> None:
    address = f"http://127.0.0.1/v1/images/{'0' * 32}"
    problem = await McpClient(studio).refuse("img2img", PROMPT | {"init_image": address})
    assert problem == "invalid_request: init_image: is not known here"


async def test_initialize_names_a_new_session_each_time(studio: InProcessStudio) -> None:
    params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "a test", "version": "1"}}
    answers = [await McpClient(studio).post({"id": 0, "method": "initialize", "params": params}) for _ in range(2)]
    assert len({answer.headers["mcp-session-id"] for answer in answers}) == 2
    facts = json.loads(answers[0].text.split("data: ")[1])["result"]
    assert facts["serverInfo"]["name"] == "Image Studio" and "tools" in facts["capabilities"]


async def test_models_and_loras_are_listed_as_in_rest(studio: InProcessStudio) -> None:
    client = McpClient(studio)
    for kind in ("model", "lora", "embedding"):
        texts = (await client.call(f"list_{kind}s"))[1]
        assert [json.loads(text) for text in texts] == (await client.web.get(f"/v1/{kind}s/list")).json()


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"{", "body: must be valid JSON"),
        (b"[]", "body: must be a message of JSON-RPC 2.0"),
        (b'{"id": 1, "method": "tools/list"}', "body: must be a message of JSON-RPC 2.0"),
    ],
)
async def test_what_is_no_message_is_refused(studio: InProcessStudio, body: bytes, problem: str) -> None:
    headers = HEADERS | {"content-type": "application/json"}
    answer = await studio.client_without_token.post(ENDPOINT, content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"] == {
        "code": -32600,
        "message": problem,
        "data": {"code": "invalid_request", "field": "body", "message": problem},
    }


@pytest.mark.parametrize("path", ["/gradio_api/mcp", "/gradio_api/mcp/", "/gradio_api/mcp/http"])
async def test_there_is_no_stream_without_a_call(studio: InProcessStudio, path: str) -> None:
    answer = await studio.client_without_token.get(path, headers=HEADERS)
    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, OPTIONS, POST")
