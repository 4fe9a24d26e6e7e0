"""The clients: what they are, what users set in them, and the tests that run them or send their requests.

A client works if its tests pass: `tests/unit/test_clients_page.py` checks that they exist, are not skipped, and use it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Registry = Literal["PyPI", "npm"]


@dataclass(frozen=True)
class Client:
    """`setting` is what its users set. `tests` are names of files in tests/acceptance, or of functions in them."""

    name: str
    api: str
    setting: str
    tests: tuple[str, ...]


@dataclass(frozen=True)
class InstalledClient(Client):
    """A package that the tests install and run. `module` is what they import.

    `program` is the file in `tests/node` or `tests/python` that does so, if the test itself does not.
    """

    package: str
    registry: Registry
    module: str
    program: str = ""


@dataclass(frozen=True)
class ReplayedClient(Client):
    """A client whose requests the tests send. `version` is the one that sent them, `reason` why it is not installed."""

    version: str
    reason: str
    note: str = ""


@dataclass(frozen=True)
class OtherClient:
    """A client that no test has tried."""

    name: str
    state: str


STUDIO = "http://127.0.0.1:7860"
WEBUI, OPENAI, HUGGING_FACE = "AUTOMATIC1111", "OpenAI", "Hugging Face"
APPLICATION = "an application, not a library"

INSTALLED = (
    InstalledClient(
        "Gradio's client for Python", "Gradio", f'`Client("{STUDIO}")`',
        ("test_server.py", "test_models.py", "test_parity.py"), "gradio-client", "PyPI", "gradio_client",
    ),
    InstalledClient(
        "Gradio's client for JavaScript", "Gradio", f'`Client.connect("{STUDIO}")`',
        ("test_javascript.py",), "@gradio/client", "npm", "@gradio/client", "generate.mjs",
    ),
    InstalledClient(
        "The MCP SDK for Python", "MCP", f"`{STUDIO}/gradio_api/mcp/`, streamable HTTP",
        ("test_parity.py", "test_ownership.py"), "mcp", "PyPI", "mcp",
    ),
    InstalledClient(
        "websockets", "WebSocket", f"`{STUDIO.replace('http', 'ws')}/v1/ws`",
        ("test_websocket.py", "test_parity.py"), "websockets", "PyPI", "websockets",
    ),
    InstalledClient(
        "OpenAI for Python", OPENAI, f'`OpenAI(base_url="{STUDIO}/v1")`',
        ("test_openai.py",), "openai", "PyPI", "openai",
    ),
    InstalledClient(
        "OpenAI for JavaScript", OPENAI, f'`new OpenAI({{ baseURL: "{STUDIO}/v1" }})`',
        ("test_openai_clients.py::test_openais_client_for_javascript",), "openai", "npm", "openai", "openai.mjs",
    ),
    InstalledClient(
        "Vercel's AI SDK", OPENAI, f'`createOpenAI({{ baseURL: "{STUDIO}/v1" }})`',
        ("test_openai_clients.py::test_vercels_ai_sdk",), "ai", "npm", "ai", "ai_sdk.mjs",
    ),
    InstalledClient(
        "Vercel's AI SDK, its provider for OpenAI", OPENAI, "as above",
        ("test_openai_clients.py::test_vercels_ai_sdk",), "@ai-sdk/openai", "npm", "@ai-sdk/openai", "ai_sdk.mjs",
    ),
    InstalledClient(
        "litellm, its SDK", OPENAI, f'`api_base="{STUDIO}/v1"`, and `openai/` before the name of the model',
        ("test_openai_clients.py::test_litellm",), "litellm", "PyPI", "litellm", "use_litellm.py",
    ),
    InstalledClient(
        "LangChain's DallEAPIWrapper", OPENAI, f'`base_url="{STUDIO}/v1"`',
        ("test_openai_clients.py::test_langchain",), "langchain-community", "PyPI", "langchain_community",
        "use_langchain.py",
    ),
    InstalledClient(
        "huggingface_hub, InferenceClient", HUGGING_FACE, f'`InferenceClient(base_url="{STUDIO}/hf")`',
        ("test_huggingface.py",), "huggingface-hub", "PyPI", "huggingface_hub",
    ),
    InstalledClient(
        "Hugging Face's client for JavaScript", HUGGING_FACE, f'`endpointUrl: "{STUDIO}/hf"`',
        ("test_huggingface.py::test_the_client_for_javascript",), "@huggingface/inference", "npm",
        "@huggingface/inference", "hugging_face.mjs",
    ),
    InstalledClient(
        "webuiapi", WEBUI, '`WebUIApi(host="127.0.0.1", port=7860)`',
        ("test_a1111.py",), "webuiapi", "PyPI", "webuiapi",
    ),
    InstalledClient(
        "sd-backend-client", WEBUI, f'`connect_to_backend("{STUDIO}")`',
        ("test_a1111_clients.py::test_sd_backend_client",), "sd-backend-client", "PyPI", "sd_backend_client",
    ),
    InstalledClient(
        "aaa1111", WEBUI, f'`AAA1111(base_url="{STUDIO}")`',
        ("test_a1111_clients.py::test_aaa1111",), "aaa1111", "PyPI", "aaa1111",
    ),
    InstalledClient(
        "node-sd-webui", WEBUI, f'`apiUrl: "{STUDIO}"`',
        ("test_a1111_clients.py::test_node_sd_webui",), "node-sd-webui", "npm", "node-sd-webui", "webui.mjs",
    ),
    InstalledClient(
        "stable-diffusion-api", WEBUI, f'`baseUrl: "{STUDIO}"`',
        ("test_a1111_clients.py::test_stable_diffusion_api",), "stable-diffusion-api", "npm", "stable-diffusion-api",
        "stable_diffusion_api.mjs",
    ),
)  # fmt: skip

REPLAYED = (
    ReplayedClient(
        "Open WebUI, image engine openai", OPENAI, f"API base URL `{STUDIO}/v1`, any key",
        (
            "test_openai.py::test_open_webui_makes_a_picture",
            "test_openai.py::test_open_webui_fetches_a_picture_by_its_address",
            "test_openai.py::test_open_webui_edits_a_picture",
            "test_openai_clients.py::test_open_webui_asks_these_models_for_no_format",
            "test_openai_clients.py::test_open_webui_fetches_links_with_its_key",
            "test_openai_clients.py::test_open_webui_edits_a_picture_with_an_alias",
        ), "not recorded", APPLICATION,
    ),
    ReplayedClient(
        "Open WebUI, image engine automatic1111", WEBUI, f"base URL `{STUDIO}`",
        ("test_a1111.py::test_open_webui",), "not recorded", APPLICATION,
    ),
    ReplayedClient(
        "LibreChat, OpenAI's image tools", OPENAI, f"`IMAGE_GEN_OAI_BASEURL={STUDIO}/v1`",
        ("test_openai_clients.py::test_librechats_image_tools",), "not recorded", APPLICATION,
    ),
    ReplayedClient(
        "LibreChat, DALL-E", OPENAI, f"`DALLE_REVERSE_PROXY={STUDIO}/v1`",
        ("test_openai_clients.py::test_librechats_dall_e_tool",), "not recorded", APPLICATION,
    ),
    ReplayedClient(
        "LibreChat, Stable Diffusion", WEBUI, f"`SD_WEBUI_URL={STUDIO}`",
        ("test_openai_clients.py::test_librechats_stable_diffusion_tool_is_told_which_field_is_wrong",),
        "not recorded", APPLICATION, "only with a model that makes 1024x1024, which it always requests",
    ),
    ReplayedClient(
        "SillyTavern, source Stable Diffusion Web UI", WEBUI, f"URL `{STUDIO}`",
        ("test_a1111.py::test_sillytavern",), "2024-09", APPLICATION,
    ),
    ReplayedClient(
        "SillyTavern, source stable-diffusion.cpp", WEBUI, f"URL `{STUDIO}`",
        ("test_a1111_clients.py::test_sillytavern_with_the_dialect_of_stable_diffusion_cpp",),
        "not recorded", APPLICATION,
    ),
    ReplayedClient(
        "SillyTavern, sources Draw Things and SD.Next", WEBUI, f"URL `{STUDIO}`",
        ("test_a1111_clients.py::test_sillytavern_with_the_dialects_of_draw_things_and_sd_next",),
        "not recorded", APPLICATION,
    ),
    ReplayedClient(
        "AI Render for Blender", WEBUI, f"local installation, URL `{STUDIO}`",
        ("test_a1111_clients.py::test_ai_render",), "not recorded", "an add-on of Blender",
    ),
    ReplayedClient(
        "Auto-Photoshop-StableDiffusion-Plugin", WEBUI, f"URL `{STUDIO}`",
        ("test_a1111_clients.py::test_auto_photoshop",), "not recorded", "a plugin of Photoshop",
    ),
    ReplayedClient(
        "The test suite of AUTOMATIC1111's web UI", WEBUI, "none",
        ("test_a1111_suite.py",), "1.10.1", "it starts a web UI of its own",
        "what the studio does not have is refused by name",
    ),
)  # fmt: skip

OTHERS = (
    OtherClient("litellm, its proxy", "Not tried. It calls litellm's SDK, which works."),
    OtherClient("The image tool of OpenAI's Responses API", "Does not work: the studio has no `/v1/responses`."),
    OtherClient("Krita AI Diffusion", "Does not work: it uses ComfyUI's API only, which the studio does not have."),
    OtherClient("Cyanic SD Krita", "Not tried. It uses AUTOMATIC1111's API."),
    OtherClient("Draw Things", "Not tried as a client. Requests in its dialect, as SillyTavern sends them, work."),
)
