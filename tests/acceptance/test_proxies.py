"""The studio behind a real nginx, as people set it up."""

from __future__ import annotations

import io
import json
import ssl
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from websockets.sync.client import connect

from tests.acceptance.conftest import (
    TIMEOUT_MILLISECONDS,
    Studio,
    make_client,
    open_page,
    open_window,
    running_studio,
)
from tests.acceptance.nginx import choose_ports, run_nginx
from tests.acceptance.test_page import generate

REQUEST_BODY = {"prompt": "a red circle", "steps": 1, "width": 64, "height": 64}


@dataclass(frozen=True)
class Proxies:
    studio: Studio
    ports: dict[str, int]

    def url(self, name: str) -> str:
        """The address under which people open the studio, with a slash at the end."""
        port = self.ports[name]
        return {
            "port dropped": f"http://studio.lan:{port}/",
            "bare with TLS": f"https://paint.lan:{port}/",
            "path": f"http://127.0.0.1:{port}/studio/",
            "documented": f"https://studio.lan:{port}/",
        }.get(name, f"http://127.0.0.1:{port}/")

    def make_client(self, name: str, **headers: str) -> httpx2.Client:
        """A program that reaches the studio through a proxy."""
        scheme = self.url(name).partition(":")[0]
        return httpx2.Client(
            base_url=f"{scheme}://127.0.0.1:{self.ports[name]}", headers=headers, timeout=60, verify=False
        )


@pytest.fixture(scope="module")
def proxies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxies]:
    """The owner named studio.lan, and not paint.lan."""
    folder, ports = tmp_path_factory.mktemp("proxies"), choose_ports()
    flags = ("--public-url", f"http://127.0.0.1:{ports['path']}/studio", "--hosts", "studio.lan")
    with running_studio(folder, *flags) as studio, run_nginx(folder, studio.url.removeprefix("http://"), ports):
        yield Proxies(studio, ports)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with open_window(browser, ignore_https_errors=True) as page:
        yield page


SETUPS = ("port dropped", "host and port", "bare", "bare with TLS", "path", "documented")


@pytest.mark.parametrize("name", SETUPS)
def test_the_page_makes_a_picture(proxies: Proxies, page: Page, name: str) -> None:
    oddities: list[str] = []
    page.on("console", lambda message: oddities.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: oddities.append(str(error)))
    page.on("response", lambda answer: oddities.append(answer.url) if not answer.ok else None)
    open_page(page, proxies.url(name))
    generate(page, steps=1)
    page.wait_for_function("document.querySelector('.stage.finished img')?.naturalWidth > 0")
    assert oddities == []


@pytest.mark.parametrize("name", [*SETUPS, "no host"])
@pytest.mark.parametrize("host", ["evil.lan", "127.0.0.1"])
def test_a_page_of_another_site_is_refused(proxies: Proxies, page: Page, name: str, host: str) -> None:
    """It sends JSON as text, for which a browser does not ask first."""
    origin, target = f"http://{host}:{proxies.ports['another site']}", f"{proxies.url(name)}v1/jobs"
    page.goto(origin)
    with page.expect_response(target) as answered:
        page.evaluate(
            "([target, body]) => void fetch(target, { method: 'POST', mode: 'no-cors', body })",
            [target, json.dumps(REQUEST_BODY)],
        )
    assert answered.value.status == 403
    assert f'"origin": "{origin}"' in proxies.studio.log.read_text(encoding="utf-8")


def test_a_person_whose_form_is_refused_reads_why(proxies: Proxies, page: Page) -> None:
    page.goto(f"http://evil.lan:{proxies.ports['another site']}")
    form = "<form method=post enctype=text/plain><input name='{\"prompt\":\"' value='a\"}'><button>Win</button></form>"
    page.set_content(form.replace("<form", f"<form action={proxies.url('host and port')}v1/jobs"))
    page.get_by_role("button").click()
    expect(page.get_by_role("alert")).to_contain_text("A page of http://evil.lan:")


@pytest.mark.parametrize(
    ("name", "address", "explanation"),
    [
        ("host and port", "http://paint.lan:{}/", "does not serve the host name paint.lan:{}"),
        ("bare", "http://paint.lan:{}/", "A page of http://paint.lan:{} sent this request to 127.0.0.1:"),
        ("unknown path", "http://127.0.0.1:{}/elsewhere/", "Set 'public_url' to this address."),
    ],
)
def test_an_address_that_is_not_set_up_says_what_to_set(
    proxies: Proxies, page: Page, name: str, address: str, explanation: str
) -> None:
    port = proxies.ports[name]
    page.goto(address.format(port))
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text(explanation.format(port), timeout=TIMEOUT_MILLISECONDS)
    expect(alert).to_contain_text("'hosts'" if name == "host and port" else "'public_url'")


def test_a_program_reads_what_to_set(proxies: Proxies) -> None:
    with proxies.make_client("host and port", Host="paint.lan") as web:
        answer = web.get("/v1/models/list")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "wrong_host")
    assert "'hosts'" in answer.json()["error"]["message"]


@pytest.mark.parametrize("name", ["documented", "bare"])
def test_events_arrive_while_the_picture_forms(proxies: Proxies, name: str) -> None:
    with proxies.make_client(name) as web:
        job = web.post("/v1/jobs", json=REQUEST_BODY | {"steps": 30}).json()["id"]
        with web.stream("GET", f"/v1/jobs/{job}/events") as answer:
            lines = answer.iter_lines()
            assert any(line == "event: progress" for line in lines)
            assert web.get(f"/v1/jobs/{job}").json()["state"] == "running"
            assert any(line == "event: result" for line in lines)


def test_the_socket_and_large_bodies_pass_the_documented_proxy(proxies: Proxies) -> None:
    port, noise = proxies.ports["documented"], io.BytesIO()
    Image.effect_noise((1200, 1200), 99).save(noise, "PNG")
    start = {"init_image": b64encode(noise.getvalue()).decode(), "strength": 0.9}
    with connect(
        f"wss://127.0.0.1:{port}/v1/ws", ssl=ssl._create_unverified_context(), max_size=None, compression=None
    ) as socket:
        socket.send(json.dumps(REQUEST_BODY | start))
        messages = map(json.loads, socket)
        assert next(each["type"] for each in messages if each["type"] in ("result", "error")) == "result"
    with proxies.make_client("documented") as web:
        body = json.dumps(REQUEST_BODY | start)
        assert len(body) > 1_500_000
        assert web.post("/v1/img2img", content=body).status_code == 200


def submit(web: httpx2.Client) -> str:
    job: str = web.post("/v1/jobs", json=REQUEST_BODY).json()["id"]
    return job


def test_each_address_that_a_trusted_proxy_names_is_a_user(proxies: Proxies) -> None:
    studio = proxies.studio
    with (
        make_client(studio, X_Forwarded_For="192.0.2.1") as ann,
        make_client(studio, X_Forwarded_For="192.0.2.2") as bob,
    ):
        job = submit(ann)
        assert [web.get(f"/v1/jobs/{job}").status_code for web in (ann, bob)] == [200, 404]


def test_a_client_of_the_documented_proxy_does_not_choose_its_address(proxies: Proxies) -> None:
    forged: dict[str, Any] = {"X-Forwarded-For": "192.0.2.1", "X-Real-IP": "192.0.2.1", "Forwarded": "for=192.0.2.1"}
    with proxies.make_client("documented", **forged) as forger, make_client(proxies.studio) as here:
        job = submit(forger)
        assert here.get(f"/v1/jobs/{job}").status_code == 200
    with make_client(proxies.studio, X_Forwarded_For="192.0.2.1") as victim:
        assert victim.get(f"/v1/jobs/{job}").status_code == 404
