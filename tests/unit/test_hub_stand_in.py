"""The stand-in for the Hub, as the real client sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.hub.repositories import REPOSITORIES, UNET
from tests.hub.server import OWNER, STRANGER, StandInHub

MODEL = "studio/tiny-sdxl"
LARGE = 3_000_000


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built once. `studio/plain` has a file of random bytes, and a small file."""
    folder = tmp_path_factory.mktemp("repositories")
    plain = folder / "studio" / "plain"
    plain.mkdir(parents=True)
    (plain / "weights.safetensors").write_bytes(os.urandom(LARGE))
    (plain / "config.json").write_text("{}")
    return folder


@pytest.fixture
def hub(root: Path) -> Iterator[StandInHub]:
    with StandInHub(root, REPOSITORIES) as hub:
        yield hub


def api(hub: StandInHub, token: str | None = None) -> HfApi:
    return HfApi(endpoint=hub.url, token=token or False)


def download(
    hub: StandInHub, file: str, cache: Path, repository: str = "studio/plain", token: str | None = None
) -> Path:
    return Path(hf_hub_download(repository, file, endpoint=hub.url, cache_dir=cache, token=token or False))


def test_a_token_has_a_name(hub: StandInHub) -> None:
    assert api(hub, OWNER).whoami()["name"] == "studio"
    with pytest.raises(HfHubHTTPError):
        api(hub, "hf_unknown").whoami()


def test_information_includes_sizes_when_requested(hub: StandInHub, root: Path) -> None:
    info = api(hub).model_info("studio/plain", files_metadata=True)
    sizes = {file.rfilename: file.size for file in info.siblings or ()}
    assert sizes == {"weights.safetensors": LARGE, "config.json": 2}
    assert not info.private and not info.gated
    assert {file.size for file in api(hub).model_info("studio/plain").siblings or ()} == {None}


def test_a_model_may_report_any_size(hub: StandInHub) -> None:
    info = api(hub).model_info("studio/too-large", files_metadata=True)
    sizes = {file.rfilename: file.size for file in info.siblings or ()}
    assert sizes[UNET] == 9 * 10**12


def test_a_whole_model_is_downloaded(hub: StandInHub, root: Path, tmp_path: Path) -> None:
    snapshot = Path(snapshot_download(MODEL, endpoint=hub.url, cache_dir=tmp_path, token=OWNER))
    files = {path.relative_to(root / MODEL) for path in (root / MODEL).rglob("*") if path.is_file()}
    assert all((snapshot / file).read_bytes() == (root / MODEL / file).read_bytes() for file in files)
    requested = hub.requests("GET /lfs/")
    assert requested and all(request.host.startswith("localhost") for request in requested)
    assert not any(request.authorization for request in requested)


def test_a_truncated_body_is_requested_again(hub: StandInHub, root: Path, tmp_path: Path) -> None:
    hub.add_fault("GET /lfs/", cut=LARGE // 2)
    file = download(hub, "weights.safetensors", tmp_path)
    assert file.read_bytes() == (root / "studio/plain/weights.safetensors").read_bytes()
    assert len(hub.requests("GET /lfs/")) == 2


def test_part_of_a_file_can_be_requested(hub: StandInHub, root: Path, tmp_path: Path) -> None:
    whole = (root / "studio/plain/weights.safetensors").read_bytes()
    url = f"{hub.url}/studio/plain/resolve/main/weights.safetensors"
    command = [sys.executable, "-c", RANGES, url]
    parts = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    assert parts == [[206, whole[100:200].hex()], [206, whole[-100:].hex()], [416, ""]]


RANGES = """
import json, sys, urllib.error, urllib.request
def answer(range):
    try:
        with urllib.request.urlopen(urllib.request.Request(sys.argv[1], headers={"Range": range})) as answer:
            return answer.status, answer.read().hex()
    except urllib.error.HTTPError as error:
        return error.code, ""
print(json.dumps([answer(f"bytes={range}") for range in ("100-199", "2999900-", "3000000-")]))
"""


def test_a_slow_response_has_the_configured_speed(hub: StandInHub, tmp_path: Path) -> None:
    hub.add_fault("GET /lfs/", slow=6 * LARGE)
    began = time.monotonic()
    download(hub, "weights.safetensors", tmp_path)
    assert 0.15 < time.monotonic() - began < 2


def test_a_slow_response_goes_on_at_full_speed_when_its_fault_is_removed(hub: StandInHub, tmp_path: Path) -> None:
    hub.add_fault("GET /lfs/", slow=LARGE // 1000)
    with ThreadPoolExecutor(1) as thread:
        downloaded = thread.submit(download, hub, "weights.safetensors", tmp_path)
        while not any(request.method == "GET" and "/lfs/" in request.path for request in hub.log):
            time.sleep(0.01)
        hub.clear_faults()
        assert downloaded.result(20).stat().st_size == LARGE


@pytest.mark.parametrize("token", [None, STRANGER])
@pytest.mark.parametrize("repository", ["studio/missing", "studio/private"])
def test_private_and_missing_look_alike(hub: StandInHub, repository: str, token: str | None, tmp_path: Path) -> None:
    with pytest.raises(RepositoryNotFoundError):
        api(hub, token).model_info(repository)


def test_the_owner_reads_what_is_private_or_gated(hub: StandInHub, tmp_path: Path) -> None:
    for repository in ("studio/private", "studio/gated"):
        api(hub, OWNER).auth_check(repository)
        assert download(hub, "model_index.json", tmp_path, repository, OWNER).is_file()


@pytest.mark.parametrize("token", [None, STRANGER])
def test_a_gated_model_is_seen_and_not_read(hub: StandInHub, token: str | None, tmp_path: Path) -> None:
    assert api(hub, token).model_info("studio/gated").gated == "manual"
    with pytest.raises(GatedRepoError):
        api(hub, token).auth_check("studio/gated")
    with pytest.raises(GatedRepoError):
        download(hub, "model_index.json", tmp_path, "studio/gated", token)


def test_revisions_and_files_may_be_missing(hub: StandInHub, tmp_path: Path) -> None:
    with pytest.raises(RevisionNotFoundError):
        api(hub).model_info("studio/plain", revision="0" * 40)
    with pytest.raises(RemoteEntryNotFoundError):
        download(hub, "nothing.json", tmp_path)


def test_faults_occur_as_often_as_configured(hub: StandInHub, tmp_path: Path) -> None:
    hub.add_fault("GET /studio/plain/", status=500, times=2)
    for _ in range(2):
        with pytest.raises(HfHubHTTPError, match="500"):
            download(hub, "config.json", tmp_path)
    assert download(hub, "config.json", tmp_path).read_text() == "{}"


def test_a_closing_hub_ends_open_requests(root: Path) -> None:
    with StandInHub(root) as hub:
        hub.add_fault("GET", delay=60)
        request = threading.Thread(target=ask_and_fail, args=(hub,))
        request.start()
        while not hub.log:
            time.sleep(0.01)
        began = time.monotonic()
    request.join(5)
    assert not request.is_alive()
    assert time.monotonic() - began < 5


def ask_and_fail(hub: StandInHub) -> None:
    with suppress(httpx2.HTTPError):
        api(hub).model_info("studio/plain")


def test_the_environment_leads_the_client_here(hub: StandInHub, tmp_path: Path) -> None:
    """In a separate process, because the client reads its address when it is imported."""
    code = "from huggingface_hub import hf_hub_download as get; print(get('studio/plain', 'config.json'))"
    environment = os.environ | hub.environment(tmp_path)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).is_relative_to(tmp_path)
    assert not any(request.authorization for request in hub.log)
