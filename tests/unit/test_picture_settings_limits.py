"""Pictures whose metadata is broken, hostile or huge: they are read as far as possible, or refused in a sentence."""

from __future__ import annotations

import json
import struct
import zlib
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagegen.errors import InvalidRequest
from imagegen.languages.translation import fill_in
from imagegen.media.metadata import notes
from imagegen.media.metadata.file_texts import read_all_texts
from imagegen.media.metadata.found import MAX_METADATA_CHARS
from imagegen.media.metadata.readers.table import find_settings
from imagegen.model_manager import ModelManager
from imagegen.picture_settings.resolution import MAX_FIELDS, MAX_FOUND_CHARS, Resolution
from imagegen.schema.picture_settings import PictureSettings
from imagegen.schema.validation import parse_request
from imagegen.workers.model_memory import ModelMemory
from imagegen.workers.registry import WorkerRegistry
from tests.doubles import ScriptedWorker, make_library, make_receipt
from tests.support import comfyui_graphs as graphs
from tests.support import tool_pictures as tools
from tests.support.picture_files import build_xmp, write_png, write_stealth_png, write_with_comment

# The same examples in each run, and as many as take a few seconds.
BOUNDED = settings(derandomize=True, max_examples=60, deadline=None, database=None)
# Pillow warns of Exif that is damaged, and goes on.
PILLOW_WARNS = pytest.mark.filterwarnings("ignore::UserWarning:PIL")
INFOTEXT = tools.build_infotext(tools.SETTINGS)


async def wait_until_ready() -> None:
    pass


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> ModelManager:
    worker = ScriptedWorker()
    memory = ModelMemory(worker, WorkerRegistry(worker.names), wait_until_ready)
    return ModelManager(make_library(tmp_path_factory.mktemp("library")), memory)


@pytest.fixture(scope="module")
def resolution(manager: ModelManager) -> Resolution:
    """Its list of files is read once for all examples."""
    return Resolution(manager, manager.get_default())


def resolve(texts: dict[str, str], known: Resolution) -> PictureSettings | None:
    """Returns what is answered for the texts of a file; the request in it is valid, and the answer can be sent."""
    found = find_settings(texts)
    if found is None:
        return None
    fresh = Resolution(known.manager, known.manager.get_default())
    fresh.files = known.files
    answer = fresh.resolve(found)
    parse_request(answer.settings)
    assert len(answer.fields) <= MAX_FIELDS + 2
    assert all(len(each.found) <= MAX_FOUND_CHARS and len(each.source) <= MAX_FOUND_CHARS for each in answer.fields)
    assert PictureSettings.model_validate_json(answer.model_dump_json()) == answer
    return answer


def build_png_chunk(kind: bytes, data: bytes, checksum: int | None = None) -> bytes:
    value = zlib.crc32(kind + data) if checksum is None else checksum
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", value)


def insert_chunk(chunk: bytes) -> bytes:
    """Returns a PNG file with a chunk behind its header."""
    png = write_png({})
    return png[:33] + chunk + png[33:]


@pytest.mark.parametrize(
    "content",
    [
        insert_chunk(build_png_chunk(b"tEXt", b"parameters\0" + INFOTEXT.encode(), checksum=1)),
        write_png({"parameters": INFOTEXT})[:-40],
        insert_chunk(struct.pack(">I", 2**31) + b"tEXt" + b"parameters"),
        b"\x89PNG\r\n\x1a\n" + b"\xff" * 100,
    ],
    ids=["checksum", "cut short", "endless chunk", "noise"],
)
def test_a_broken_picture_is_refused_in_a_sentence(content: bytes) -> None:
    with pytest.raises(InvalidRequest, match="image: must be a whole picture in one of PNG"):
        read_all_texts(content)


@pytest.mark.parametrize(
    "content",
    [
        insert_chunk(build_png_chunk(b"zTXt", b"parameters\0\0no zlib stream")),
        insert_chunk(build_png_chunk(b"iTXt", b"parameters")),
        write_with_comment("JPEG", "", "utf-8"),
        write_png({}, exif=b"Exif\0\0MM\0*\0\0\xff\xff"),
        write_png({"XML:com.adobe.xmp": "<x:xmpmeta"}),
        write_png({"XML:com.adobe.xmp": '<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>'}),
    ],
    ids=["zTXt", "iTXt", "empty comment", "Exif", "XMP", "entities"],
)
@PILLOW_WARNS
def test_broken_metadata_in_a_whole_picture_is_none(content: bytes) -> None:
    assert find_settings(read_all_texts(content)) is None


@pytest.mark.parametrize(
    "text",
    [
        "{" * 100_000,
        '{"sui_image_params":' + "[" * 100_000 + "]" * 100_000 + "}",
        json.dumps({"sui_image_params": []}),
        json.dumps({"base_model": [], "metadata_scheme": "fooocus", "loras": {"a": 1}, "steps": {"a": []}}),
        '{"sui_image_params": {"seed": NaN, "steps": Infinity, "prompt": 5, "width": 1e400, "height": -1}}',
        json.dumps({"sui_image_params": {"seed": 10**400, "prompt": "x", "sampler": ["a"], "loras": [[1]]}}),
        '{"sui_image_params": {"seed": ' + "9" * 5000 + "}}",
        "Steps: 20, Sampler: " + "x" * 100_000 + ", Seed: 7",
        "a\nSteps: 1, " + ", ".join(f"Key {number}: {number}" for number in range(5000)),
        'a\nSteps: 1, Sampler: Euler, Seed: 2, Civitai resources: [{"type":"lora"},' + "[" * 50_000,
        "a\nSteps: 1, Sampler: Euler, Seed: 2, " + "<lora:neon:1>" * 500,
        "<lora:neon:nan> <lora:neon:1e9> <lora:" + "x" * 500 + ":1>\nSteps: 1, Sampler: Euler, Seed: 2",
        "\0\x01\x02 a\nNegative prompt: \x1b[31m\nSteps: 1, Sampler: Euler, Seed: 2",
    ],
    ids=lambda text: str(text)[:40],
)
def test_odd_values_are_read_as_far_as_possible(text: str, resolution: Resolution) -> None:
    resolve({"parameters": text}, resolution)


def test_what_the_model_cannot_do_is_missing(manager: ModelManager) -> None:
    model = manager.get_default()
    poor = model.model_copy(
        update={"can": model.can.model_copy(update={"negative_prompt": False, "samplers": ("Euler",)})}
    )
    found = find_settings({"parameters": INFOTEXT})
    assert found is not None
    answer = Resolution(manager, poor).resolve(found)
    assert "negative_prompt" not in answer.settings and "sampler" not in answer.settings
    note = fill_in(notes.NOT_WITH_MODEL, {"model": "embedded"})
    missing = {each.field for each in answer.fields if (each.status, each.value, each.note) == ("missing", None, note)}
    assert missing == {"negative_prompt", "sampler"}


def test_a_picture_with_too_much_text_is_refused() -> None:
    content = write_png({"parameters": INFOTEXT, "more": "x" * 10_000_000}, compressed=True)
    with pytest.raises(InvalidRequest, match="image: must have at most 4 MB of texts with settings"):
        find_settings(read_all_texts(content))


@pytest.mark.parametrize("pair", ['ab:"x,', 'ab:[{"a":1},', "ab: 1, "])
def test_a_line_of_settings_without_end_is_none(pair: str) -> None:
    assert find_settings({"parameters": "a\nSteps: 1, " + pair * 200_000}) is None


def test_a_graph_with_too_many_values_is_none() -> None:
    graph = {str(number): graphs.node("Note", text="x") for number in range(80_000)}
    text = json.dumps(graph, separators=(",", ":"))
    assert len(text) > MAX_METADATA_CHARS or find_settings({"prompt": text}) is None


def test_a_long_chain_of_nodes_is_followed_to_its_end(resolution: Resolution) -> None:
    """No search is recursive: a graph may be of any depth."""
    graph = graphs.build_simple_graph(model=["m0", 0])
    for number in range(5000):
        target = [f"m{number + 1}", 0] if number < 4999 else ["4", 0]
        graph[f"m{number}"] = graphs.node("ModelSamplingDiscrete", sampling="lcm", model=target)
    answer = resolve({"prompt": json.dumps(graph)}, resolution)
    assert answer is not None and answer.settings["model"] == "embedded"


def test_a_hidden_text_that_claims_to_be_endless_is_none() -> None:
    for size in (2**32 - 1, 8 * (MAX_METADATA_CHARS + 1)):
        content = write_stealth_png({"a": "b"}, b"stealth_pnginfo", size)
        assert read_all_texts(content) == {}


def test_a_comment_of_another_program_is_none() -> None:
    assert find_settings(read_all_texts(write_with_comment("JPEG", "A day at the lake: sun, wind, water"))) is None
    xmp = build_xmp("a photo", "Camera")
    assert find_settings(read_all_texts(write_png({"XML:com.adobe.xmp": xmp}))) is None


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
OBJECTS: dict[str, dict[str, Any]] = {
    "fooocus": {"parameters": tools.build_fooocus_json()},
    "invokeai": {"invokeai_metadata": tools.build_invokeai_3_json()},
    "invokeai 2": {"sd-metadata": tools.build_invokeai_2_json()},
    "swarmui": {"parameters": tools.build_swarmui_json()},
    "novelai": {"Software": "NovelAI", "Comment": json.loads(tools.build_novelai_4_texts()["Comment"])},
    "easy diffusion": {"parameters": tools.build_easy_diffusion_values()},
    "draw things": {"parameters": tools.build_draw_things_json()},
    "civitai": {"parameters": tools.build_civitai_graph(graphs.build_simple_graph())},
    "comfyui": {"prompt": graphs.build_adapter_graph()},
    "comfyui in parts": {"prompt": graphs.build_flux_graph()},
    "comfyui page": {"workflow": graphs.build_workflow()},
    "studio": {"receipt": make_receipt(loras=[{"lora": "neon", "sha256": "0" * 64}]).model_dump()},
}


def list_places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Returns the places of all values inside a value."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place, *(found for key, child in children for found in list_places(child, (*place, key)))]


def replace(value: Any, place: tuple[Any, ...], other: Any) -> Any:
    """Returns a value with another one at a place inside it."""
    if not place:
        return other
    if isinstance(value, dict):
        return {**value, place[0]: replace(value[place[0]], place[1:], other)}
    return [*value[: place[0]], replace(value[place[0]], place[1:], other), *value[place[0] + 1 :]]


@pytest.mark.parametrize("name", OBJECTS)
@BOUNDED
@given(data=st.data())
def test_any_value_may_be_at_any_place(name: str, data: st.DataObject, resolution: Resolution) -> None:
    texts = OBJECTS[name]
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from([place for place in list_places(texts) if place]))
        texts = replace(texts, place, data.draw(JSON_VALUES))
    resolve({key: text if isinstance(text, str) else json.dumps(text) for key, text in texts.items()}, resolution)


@BOUNDED
@given(
    parts=st.lists(st.sampled_from(INFOTEXT.replace(",", ",|").replace(":", ":|").split("|")) | st.text(max_size=12))
)
def test_any_text_may_be_infotext(parts: list[str], resolution: Resolution) -> None:
    resolve({"parameters": "".join(parts)}, resolution)


FILES = {
    "PNG": write_png({"parameters": INFOTEXT, "prompt": graphs.build_simple_graph()}),
    "JPEG": write_with_comment("JPEG", INFOTEXT, little_endian=True),
    "WebP": write_with_comment("WEBP", INFOTEXT),
    "XMP": tools.write_draw_things_png(),
    "alpha": write_stealth_png(tools.build_novelai_texts()),
}


@PILLOW_WARNS
@pytest.mark.parametrize("name", FILES)
@BOUNDED
@given(data=st.data())
def test_any_byte_of_a_file_may_be_wrong(name: str, data: st.DataObject) -> None:
    """A file is read or refused."""
    content = bytearray(FILES[name])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with suppress(InvalidRequest):
        find_settings(read_all_texts(bytes(content)))
