"""The stand-in's OpenID provider, as a real client sees it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from authlib.common.security import generate_token
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import OAuth2Client
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError
from joserfc import jwt
from joserfc.errors import BadSignatureError
from joserfc.jwk import KeySet, RSAKey

from tests.hub.openid import CLIENT_ID, CLIENT_SECRET
from tests.hub.server import StandInHub

USERS = {"hf_alice": "alice", "hf_bob": "bob"}
# The studio's callback address. The tests take the part of the browser, so that no server is needed.
CALLBACK = "http://127.0.0.1:7860/login/callback"
VERIFIER = generate_token(48)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[StandInHub]:
    with StandInHub(tmp_path, users=USERS, organisations={"alice": ("painters",)}) as hub:
        yield hub


@pytest.fixture
def client(hub: StandInHub) -> Iterator[OAuth2Client]:
    with oauth_client() as client:
        yield client


def oauth_client(secret: str = CLIENT_SECRET, method: str = "client_secret_basic") -> OAuth2Client:
    return OAuth2Client(
        CLIENT_ID,
        secret,
        scope="openid profile",
        redirect_uri=CALLBACK,
        code_challenge_method="S256",
        token_endpoint_auth_method=method,
    )


def open_authorization_page(hub: StandInHub, client: OAuth2Client, **changes: Any) -> httpx2.Response:
    """Opens the page to which the client sends the browser."""
    params = {"code_verifier": VERIFIER, "nonce": "once", "state": "mine", **changes}
    url, _ = client.create_authorization_url(f"{hub.url}/oauth/authorize", **params)
    return httpx2.get(url)


def choices(page: httpx2.Response) -> dict[str, str]:
    """Returns addresses by the text of their links."""
    links = re.findall(r'<a href="([^"]+)">([^<]+)</a>', page.text)
    return {unescape(name): str(page.url.join(unescape(address))) for address, name in links}


def read_callback_params(address: str) -> dict[str, str]:
    """Returns the parameters that the browser passes to the client's callback."""
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}


def sign_in_as(hub: StandInHub, client: OAuth2Client, user: str = "alice") -> str:
    answer = httpx2.get(choices(open_authorization_page(hub, client))[user])
    assert answer.status_code == 302
    return answer.headers["location"]


def tokens(hub: StandInHub, client: OAuth2Client, address: str, verifier: str = VERIFIER) -> dict[str, Any]:
    found: dict[str, Any] = client.fetch_token(
        f"{hub.url}/oauth/token", authorization_response=address, code_verifier=verifier, state="mine"
    )
    return found


def refusal(hub: StandInHub, client: OAuth2Client, address: str, verifier: str = VERIFIER) -> str:
    with pytest.raises(OAuthError) as refused:
        tokens(hub, client, address, verifier)
    error: str = refused.value.error
    return error


def test_discovery_lists_all_endpoints(hub: StandInHub) -> None:
    about = httpx2.get(f"{hub.url}/.well-known/openid-configuration").json()
    assert about["issuer"] == hub.url == hub.sign_in_environment()["OPENID_PROVIDER_URL"]
    places = {about[f"{name}_endpoint"] for name in ("authorization", "token", "userinfo")} | {about["jwks_uri"]}
    assert places == {f"{hub.url}/oauth/{name}" for name in ("authorize", "token", "userinfo", "jwks")}


def test_a_person_chooses_a_user(hub: StandInHub, client: OAuth2Client) -> None:
    page = open_authorization_page(hub, client)
    assert page.status_code == 200 and "Sign in as" in page.text
    assert list(choices(page)) == ["alice", "bob", "Deny"]


def test_a_person_may_deny(hub: StandInHub, client: OAuth2Client) -> None:
    address = choices(open_authorization_page(hub, client))["Deny"]
    assert address.startswith(f"{CALLBACK}?")
    assert (read_callback_params(address)["error"], read_callback_params(address)["state"]) == ("access_denied", "mine")


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_a_code_is_exchanged_for_tokens(hub: StandInHub, method: str) -> None:
    with oauth_client(method=method) as client:
        found = tokens(hub, client, sign_in_as(hub, client))
    assert found["access_token"].startswith("hf_oauth_")
    assert (found["token_type"], found["expires_in"], found["scope"]) == ("bearer", 28800, "openid profile")


def test_the_id_token_is_signed_and_has_the_users_claims(hub: StandInHub, client: OAuth2Client) -> None:
    found = tokens(hub, client, sign_in_as(hub, client))["id_token"]
    keys = KeySet.import_key_set(httpx2.get(f"{hub.url}/oauth/jwks").json())
    assert not any(key.is_private for key in keys.keys)
    claims = jwt.decode(found, keys, algorithms=["RS256"]).claims
    jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": hub.url},
        aud={"essential": True, "value": CLIENT_ID},
        nonce={"essential": True, "value": "once"},
        exp={"essential": True},
        sub={"essential": True},
    ).validate(claims)
    assert (claims["preferred_username"], claims["name"], claims["picture"]) == ("alice", "Alice", "")
    (organisation,) = claims["orgs"]
    assert (organisation["preferred_username"], organisation["name"]) == ("painters", "Painters")
    with pytest.raises(BadSignatureError):
        jwt.decode(found, RSAKey.generate_key(2048, auto_kid=True), algorithms=["RS256"])


def test_the_access_token_is_a_token_of_that_user(hub: StandInHub, client: OAuth2Client) -> None:
    token = tokens(hub, client, sign_in_as(hub, client))["access_token"]
    person = HfApi(endpoint=hub.url).whoami(token)
    assert person["name"] == "alice"
    assert [(each["type"], each["name"]) for each in person["orgs"]] == [("org", "painters")]
    claims = client.get(f"{hub.url}/oauth/userinfo").json()
    assert (claims["preferred_username"], claims["sub"]) == ("alice", person["id"])
    assert HfApi(endpoint=hub.url).whoami("hf_bob")["orgs"] == []


def test_a_code_is_good_for_once(hub: StandInHub, client: OAuth2Client) -> None:
    address = sign_in_as(hub, client)
    tokens(hub, client, address)
    assert refusal(hub, client, address) == "invalid_grant"


def test_a_code_needs_its_verifier(hub: StandInHub, client: OAuth2Client) -> None:
    address = sign_in_as(hub, client)
    assert refusal(hub, client, address, generate_token(48)) == "invalid_grant"
    assert refusal(hub, client, address) == "invalid_grant", "because it was tried"


def test_a_code_is_bound_to_its_redirect_address(hub: StandInHub, client: OAuth2Client) -> None:
    address = sign_in_as(hub, client)
    client.redirect_uri = "http://127.0.0.1:7860/elsewhere"
    assert refusal(hub, client, address) == "invalid_grant"


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_a_wrong_secret_is_refused_and_the_code_stays_good(hub: StandInHub, client: OAuth2Client, method: str) -> None:
    address = sign_in_as(hub, client)
    with oauth_client("guessed", method) as stranger:
        assert refusal(hub, stranger, address) == "invalid_client"
    assert tokens(hub, client, address)["access_token"]


def test_only_codes_are_exchanged(hub: StandInHub) -> None:
    form = {"grant_type": "password", "username": "alice", "password": "alice"}
    answer = httpx2.post(f"{hub.url}/oauth/token", data=form, auth=(CLIENT_ID, CLIENT_SECRET))
    assert (answer.status_code, answer.json()["error"]) == (400, "unsupported_grant_type")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"client_id": "<b>other</b>"}, "There is no client &lt;b&gt;other&lt;/b&gt;."),
        ({"redirect_uri": None}, "redirect_uri is missing."),
        ({"response_type": "token"}, "response_type must be code."),
        ({"scope": "profile"}, "scope must contain openid."),
        ({"code_challenge": None}, "code_challenge is missing."),
        ({"code_challenge_method": "plain"}, "code_challenge_method must be S256."),
    ],
)
def test_a_client_must_ask_rightly(
    hub: StandInHub, client: OAuth2Client, changes: dict[str, str | None], problem: str
) -> None:
    right = dict(open_authorization_page(hub, client).url.params)
    page = httpx2.get(
        f"{hub.url}/oauth/authorize", params={name: value for name, value in (right | changes).items() if value}
    )
    assert page.status_code == 400 and problem in page.text
    assert not choices(page)


def test_an_unknown_user_gets_the_choice_again(hub: StandInHub, client: OAuth2Client) -> None:
    page = httpx2.get(choices(open_authorization_page(hub, client))["alice"].replace("user=alice", "user=mallory"))
    assert page.status_code == 200 and "Sign in as" in page.text


def test_a_token_can_be_revoked_and_its_owner_signs_in_anew(hub: StandInHub, client: OAuth2Client) -> None:
    token = tokens(hub, client, sign_in_as(hub, client))["access_token"]
    for revoked in (token, "hf_alice"):
        assert HfApi(endpoint=hub.url).whoami(revoked)["name"] == "alice"
        hub.revoke(revoked)
        with pytest.raises(HfHubHTTPError):
            HfApi(endpoint=hub.url).whoami(revoked)
        assert (
            httpx2.get(f"{hub.url}/oauth/userinfo", headers={"Authorization": f"Bearer {revoked}"}).status_code == 401
        )
    assert tokens(hub, client, sign_in_as(hub, client))["access_token"] != token


def test_faults_strike_here_too(hub: StandInHub, client: OAuth2Client) -> None:
    address = sign_in_as(hub, client)
    hub.add_fault("POST /oauth/token", status=503)
    with pytest.raises(httpx2.HTTPStatusError, match="503"):
        tokens(hub, client, address)
    assert tokens(hub, client, address)["access_token"]
    assert len(hub.requests("POST /oauth/token")) == 2
