"""Those who know users, asked over the network: the Hub, and any OpenID provider."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from imagegen.access import hugging_face
from imagegen.access.hugging_face import HuggingFace
from imagegen.access.identity import Authority, Identity
from imagegen.access.openid import OpenIdProvider
from imagegen.errors import BadCredentials, SignInUnavailable
from tests.hub.server import StandInHub

TOKEN = "hf_alice"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[StandInHub]:
    with StandInHub(tmp_path, users={TOKEN: "alice"}, organisations={"alice": ("painters",)}) as hub:
        yield hub


@pytest.fixture(params=["Hub", "provider"])
def authority(request: pytest.FixtureRequest, hub: StandInHub, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """The client of the Hub reads its address when it is imported."""
    monkeypatch.setattr(hugging_face, "ENDPOINT", hub.url)
    return HuggingFace() if request.param == "Hub" else OpenIdProvider(hub.url)


async def test_a_token_tells_a_name_and_organisations(authority: Authority) -> None:
    assert await authority.identify(TOKEN) == Identity("alice", frozenset({"painters"}))


async def test_a_token_that_is_not_known_is_wrong(authority: Authority) -> None:
    with pytest.raises(BadCredentials):
        await authority.identify("hf_nobody")


async def test_a_token_that_was_revoked_is_wrong(authority: Authority, hub: StandInHub) -> None:
    await authority.identify(TOKEN)
    hub.revoke(TOKEN)
    with pytest.raises(BadCredentials):
        await authority.identify(TOKEN)


@pytest.mark.parametrize("status", [429, 500, 503, 404])
async def test_a_failure_says_nothing_of_the_token(authority: Authority, hub: StandInHub, status: int) -> None:
    hub.fault("GET /", status=status)
    with pytest.raises(SignInUnavailable):
        await authority.identify(TOKEN)
    assert (await authority.identify(TOKEN)).name == "alice"


async def test_an_authority_that_is_slow_is_not_waited_for(
    authority: Authority, hub: StandInHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagegen.access.hugging_face.PATIENCE", 0.2)
    monkeypatch.setattr("imagegen.access.openid.PATIENCE", 0.2)
    hub.fault("GET /", delay=3)
    with pytest.raises(SignInUnavailable):
        await authority.identify(TOKEN)


async def test_nobody_at_the_other_end_says_nothing_of_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hugging_face, "ENDPOINT", "http://127.0.0.1:9")
    for authority in (HuggingFace(), OpenIdProvider("http://127.0.0.1:9"), OpenIdProvider("no address")):
        with pytest.raises(SignInUnavailable):
            await authority.identify(TOKEN)
