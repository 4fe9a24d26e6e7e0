"""The server as programs, monitoring and process managers use it."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from tests.acceptance.conftest import ROOT, Studio, free_port, running_studio, wait_until_answered
from tests.support.comfyui_graphs import build_simple_graph
from tests.support.picture_files import write_png


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.fixture
def client(studio: Studio) -> Client:
    return Client(studio.url, verbose=False)


def test_it_is_alive_and_ready(studio: Studio) -> None:
    assert status(f"{studio.url}/healthz") == 200
    assert status(f"{studio.url}/readyz") == 200


def test_only_these_endpoints_are_published(client: Client) -> None:
    info = client.view_api(return_format="dict", print_info=False)
    assert sorted(info["named_endpoints"]) == [
        "/count_tokens", "/img2img", "/inpaint", "/list_controlnets", "/list_detectors", "/list_embeddings",
        "/list_ip_adapters", "/list_loras", "/list_models", "/list_pictures", "/list_preprocessors",
        "/list_refused_files", "/list_upscalers", "/list_vaes", "/list_wildcards", "/load_controlnet", "/load_detector",
        "/load_embedding", "/load_ip_adapter", "/load_lora", "/load_model", "/load_preprocessor", "/load_upscaler",
        "/load_vae", "/outpaint", "/png_info", "/preprocess",
        "/txt2img", "/unload_controlnet", "/unload_detector",
        "/unload_embedding", "/unload_ip_adapter", "/unload_lora", "/unload_model", "/unload_preprocessor",
        "/unload_upscaler", "/unload_vae",
        "/upscale",
    ]  # fmt: skip
    assert info["unnamed_endpoints"] == {}
    names = [p["parameter_name"] for p in info["named_endpoints"]["/txt2img"]["parameters"]]
    assert names == [
        "prompt", "negative_prompt", "width", "height", "steps", "guidance_scale", "sampler", "seed", "batch_size",
        "clip_skip", "model", "loras", "embeddings", "more_prompts", "step_cache",
        "variation_seed", "variation_strength", "hires_scale", "hires_steps", "hires_strength", "hires_upscaler",
        "scale", "upscaler", "controls", "vae", "references",
        "detail_detector", "detail_label", "detail_prompt", "detail_strength", "detail_confidence", "detail_padding",
    ]  # fmt: skip
    (model, delete) = info["named_endpoints"]["/unload_model"]["parameters"]
    assert (model["parameter_name"], delete["parameter_name"]) == ("model", "delete")
    assert (model["python_type"]["type"], delete["python_type"]["type"]) == ("str", "bool")
    assert delete["parameter_default"] is False


def test_a_picture_comes_as_a_file_with_its_receipt(client: Client) -> None:
    image, receipt = client.predict("a red circle on a blue background", seed=7, steps=4, api_name="/txt2img")
    assert receipt["seed"] == 7 and receipt["steps"] == 4
    with Image.open(image) as picture:
        assert picture.format == "PNG"
        assert json.loads(picture.info["receipt"]) == receipt


def test_the_same_seed_gives_the_same_picture_and_another_one_does_not(client: Client) -> None:
    def pixels(seed: int) -> bytes:
        image, _ = client.predict("a red circle", seed=seed, steps=4, api_name="/txt2img")
        with Image.open(image) as picture:
            return picture.tobytes()

    assert pixels(1) == pixels(1) != pixels(2)


def test_a_batch_comes_as_lists(client: Client) -> None:
    images, receipts = client.predict("a red circle", seed=5, steps=2, batch_size=2, api_name="/txt2img")
    assert [receipt["seed"] for receipt in receipts] == [5, 6]
    assert len({Path(image).read_bytes() for image in images}) == 2


def test_the_settings_of_a_picture_are_read(client: Client, tmp_path: Path) -> None:
    image, receipt = client.predict("a red circle", seed=7, steps=2, api_name="/txt2img")
    read = client.predict(handle_file(image), api_name="/png_info")
    assert read["tool"] == "Image Studio" and read["settings"]["seed"] == 7
    made, again = client.predict(**read["settings"], api_name="/txt2img")
    assert again["steps"] == receipt["steps"] and Path(made).read_bytes() == Path(image).read_bytes()
    file = tmp_path / "comfyui.png"
    file.write_bytes(write_png({"prompt": build_simple_graph()}))
    read = client.predict(handle_file(file), api_name="/png_info")
    assert read["tool"] == "ComfyUI" and read["settings"]["prompt"] == "a red circle"
    file.write_text("no picture")
    with pytest.raises(AppError, match="image: must be a whole picture"):
        client.predict(handle_file(file), api_name="/png_info")


def test_a_picture_can_be_painted_anew(client: Client, tmp_path: Path) -> None:
    start = tmp_path / "start.jpg"
    Image.new("RGB", (300, 200), (40, 160, 60)).save(start)
    image, receipt = client.predict(
        "a red circle", init_image=handle_file(start), strength=0.5, steps=6, api_name="/img2img"
    )
    assert receipt["strength"] == 0.5 and len(receipt["init_image"]) == 64
    with Image.open(image) as picture:
        # In the proportions of the start image, with about as many pixels as the model's own size.
        assert picture.size == (receipt["width"], receipt["height"]) == (312, 208)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": 0}, "steps: must be between 1 and 150"),
        ({"steps": "many"}, "steps: must be a number"),
        ({"width": 130}, "width: must be a multiple of 8"),
        ({"sampler": "Magic"}, "sampler: must be one of"),
        ({"seed": -5}, "seed: must be between 0 and 4294967295"),
        ({"prompt": "x" * 1_000_000}, "prompt: must have at most 4000 characters"),
        ({"prompt": "<hypernet:x:1>"}, "prompt: must not contain <hypernet"),
    ],
)
def test_bad_input_is_refused_by_name_and_the_server_lives_on(
    client: Client, studio: Studio, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(Exception, match=message) as refused:
        client.predict(**{"prompt": "a red circle", **fields}, api_name="/txt2img")
    assert "Traceback" not in str(refused.value)
    assert status(f"{studio.url}/readyz") == 200


def test_a_file_that_is_no_picture_is_refused(client: Client, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    with pytest.raises(Exception, match="init_image: must be a whole picture"):
        client.predict("a red circle", init_image=handle_file(broken), api_name="/img2img")


def test_a_file_of_the_server_is_not_taken_for_an_upload(client: Client, studio: Studio) -> None:
    stolen = {"path": str(studio.data_dir / "jobs.sqlite"), "meta": {"_type": "gradio.FileData"}}
    with pytest.raises(Exception, match=r".+"):
        client.predict("a red circle", init_image=stolen, api_name="/img2img")


def test_progress_is_reported_and_a_cancel_frees_the_worker(studio: Studio) -> None:
    watcher = Client(studio.url, verbose=False)
    job = watcher.submit("a red circle", steps=150, batch_size=8, api_name="/txt2img")
    progress_texts = wait_for(lambda: [p for p in job.status().progress_data or [] if p.index], seconds=60)
    assert progress_texts[0].length == 150
    job.cancel()
    began = time.monotonic()
    Client(studio.url, verbose=False).predict("a blue circle", steps=1, api_name="/txt2img")
    assert time.monotonic() - began < 30


def wait_for(look: Any, seconds: float) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.1)
    raise TimeoutError


def test_no_preview_is_left_on_disk(client: Client, studio: Studio) -> None:
    before = set(studio.data_dir.rglob("*.png")) | set(studio.data_dir.rglob("*.jp*g"))
    client.predict("a red circle", steps=10, api_name="/txt2img")
    made = (set(studio.data_dir.rglob("*.png")) | set(studio.data_dir.rglob("*.jp*g"))) - before
    assert len(made) <= 2, "the picture, and Gradio's copy of it"


def test_each_finished_job_leaves_one_line_in_the_log(client: Client, studio: Studio) -> None:
    client.predict("a quiet\nlog line", steps=1, seed=770077, api_name="/txt2img")
    lines = [json.loads(line) for line in studio.log.read_text(encoding="utf-8").splitlines() if line.startswith("{")]
    (finished,) = [line for line in lines if line.get("seed") == 770077 and line["message"] == "Generation finished"]
    assert finished["prompt"] == "a quiet\nlog line"
    assert finished["model_id"] == "embedded"
    assert finished["latency_ms"] > 0
    assert {"timestamp", "level", "name", "job_id"} <= set(finished)
    assert finished["vram_peak_mb"] is None and finished["nsfw_detected"] is None


@pytest.fixture(scope="module")
def starting_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A studio from its first answer to its end. The tests that use it harm it, and the last one stops it."""
    with running_studio(tmp_path_factory.mktemp("starting"), until="healthz") as studio:
        yield studio


def test_the_page_is_served_while_the_model_loads_and_early_jobs_wait_their_turn(starting_studio: Studio) -> None:
    assert status(f"{starting_studio.url}/readyz") == 503
    assert status(starting_studio.url) == 200
    _, receipt = Client(starting_studio.url, verbose=False).predict("a red circle", steps=1, api_name="/txt2img")
    assert receipt["steps"] == 1
    assert status(f"{starting_studio.url}/readyz") == 200


def test_a_killed_engine_costs_one_job_and_nothing_else(starting_studio: Studio) -> None:
    wait_until_answered(f"{starting_studio.url}/readyz", starting_studio)
    client = Client(starting_studio.url, verbose=False)
    job = client.submit("a red circle", steps=150, batch_size=8, api_name="/txt2img")
    wait_for(lambda: job.status().progress_data, seconds=60)
    os.kill(starting_studio.engine_pid, signal.SIGKILL)
    with pytest.raises(Exception, match="The worker stopped while it generated this picture"):
        job.result(timeout=60)
    assert status(f"{starting_studio.url}/healthz") == 200
    _, receipt = client.predict("a blue circle", steps=1, api_name="/txt2img")
    assert receipt["prompt"] == "a blue circle"


def test_it_stops_cleanly_when_it_is_interrupted(starting_studio: Studio) -> None:
    stop_cleanly(starting_studio, signal.SIGINT)


def stop_cleanly(studio: Studio, number: signal.Signals) -> None:
    wait_until_answered(f"{studio.url}/readyz", studio)
    engine = studio.engine_pid
    studio.process.send_signal(number)
    assert studio.process.wait(20) == 0
    assert not Path(f"/proc/{engine}").exists()
    assert "Traceback" not in studio.log.read_text(encoding="utf-8")


def test_it_runs_without_a_child_process_where_none_is_allowed(tmp_path: Path) -> None:
    with running_studio(tmp_path, "--worker", "inline") as studio:
        assert not list_children(studio)
        _, receipt = Client(studio.url, verbose=False).predict("a red circle", steps=1, api_name="/txt2img")
        assert receipt["steps"] == 1


def list_children(studio: Studio) -> list[str]:
    tasks = Path(f"/proc/{studio.process.pid}/task").glob("*/children")
    return [pid for task in tasks for pid in task.read_text().split()]


def test_a_wrong_flag_is_refused_in_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "app.py", "--port", "many"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "port" in done.stderr


def test_it_listens_on_ipv6_and_stops_cleanly_when_it_is_terminated(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log.jsonl"
    folders = ["--data-dir", str(tmp_path / "data"), "--models-dir", str(tmp_path / "models")]
    command = [sys.executable, "app.py", "--host", "::", "--port", str(port), "--open-to-network", *folders]
    url = f"http://[::1]:{port}"
    with log.open("wb") as output, subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output) as process:
        try:
            studio = Studio(url, tmp_path / "data", log, process)
            wait_until_answered(f"{url}/readyz", studio)
            image, receipt = Client(url, verbose=False).predict("a red circle", steps=1, api_name="/txt2img")
            assert Path(image).exists() and receipt["steps"] == 1
            assert json.loads(log.read_text().splitlines()[0])["message"] == f"The studio is at {url}/"
            stop_cleanly(studio, signal.SIGTERM)
        finally:
            process.terminate()
            process.wait(30)
