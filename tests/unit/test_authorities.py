"""Authorities over the network: the Hub, and any OpenID provider."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from imagegen.access import hugging_face
from imagegen.access.hugging_face import HuggingFaceAuthority
from imagegen.access.identity import Authority, Identity
from imagegen.access.openid import OpenIDAuthority
from imagegen.errors import BadCredentials, SignInUnavailable
from tests.hub.server import StandInHub

TOKEN = "hf_alice"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[StandInHub]:
    with StandInHub(tmp_path, users={TOKEN: "alice"}, organisations={"alice": ("painters",)}) as hub:
        yield hub


@pytest.fixture(params=["Hub", "provider"])
def authority(request: pytest.FixtureRequest, hub: StandInHub, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """The Hub's client reads its address when it is imported."""
    monkeypatch.setattr(hugging_face, "ENDPOINT", hub.url)
    return HuggingFaceAuthority() if request.param == "Hub" else OpenIDAuthority(hub.url)


async def test_a_token_gives_a_name_and_organisations(authority: Authority) -> None:
    assert await authority.identify(TOKEN) == Identity("alice", frozenset({"painters"}))


async def test_an_unknown_token_is_rejected(authority: Authority) -> None:
    with pytest.raises(BadCredentials):
        await authority.identify("hf_nobody")


async def test_a_token_that_was_revoked_is_wrong(authority: Authority, hub: StandInHub) -> None:
    await authority.identify(TOKEN)
    hub.revoke(TOKEN)
    with pytest.raises(BadCredentials):
        await authority.identify(TOKEN)


@pytest.mark.parametrize("status", [429, 500, 503, 404])
async def test_a_failure_does_not_reject_the_token(authority: Authority, hub: StandInHub, status: int) -> None:
    hub.add_fault("GET /", status=status)
    with pytest.raises(SignInUnavailable):
        await authority.identify(TOKEN)
    assert (await authority.identify(TOKEN)).name == "alice"


async def test_an_authority_that_is_slow_is_not_waited_for(
    authority: Authority, hub: StandInHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagegen.access.hugging_face.REQUEST_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr("imagegen.access.openid.REQUEST_TIMEOUT_SECONDS", 0.2)
    hub.add_fault("GET /", delay=3)
    with pytest.raises(SignInUnavailable):
        await authority.identify(TOKEN)


async def test_an_unreachable_authority_does_not_reject_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hugging_face, "ENDPOINT", "http://127.0.0.1:9")
    for authority in (HuggingFaceAuthority(), OpenIDAuthority("http://127.0.0.1:9"), OpenIDAuthority("no address")):
        with pytest.raises(SignInUnavailable):
            await authority.identify(TOKEN)
