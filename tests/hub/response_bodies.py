"""Response bodies on users, repositories and files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from tests.hub.repository_store import Repository, StoredFile

POINTER_SIZE = 134
CREATED_AT = "2026-01-01T00:00:00.000Z"


def person(name: str, organisations: Iterable[str]) -> dict[str, Any]:
    return {
        "type": "user",
        "id": identifier(name),
        "name": name,
        "fullname": name.title(),
        "email": f"{name}@example.org",
        "emailVerified": True,
        "isPro": False,
        "orgs": [organisation(each) for each in organisations],
        "avatarUrl": "",
        "auth": {
            "type": "access_token",
            "accessToken": {"displayName": "test", "role": "read", "createdAt": CREATED_AT},
        },
    }


def organisation(name: str) -> dict[str, Any]:
    return {
        "type": "org",
        "id": identifier(name),
        "name": name,
        "fullname": name.title(),
        "email": None,
        "canPay": False,
        "periodEnd": None,
        "avatarUrl": "",
        "roleInOrg": "write",
        "isEnterprise": False,
    }


def claims(name: str, organisations: Iterable[str], url: str) -> dict[str, Any]:
    """Returns the OpenID Connect claims of a user, with those that Hugging Face adds."""
    return {
        **organisation_claims(name),
        "profile": f"{url}/{name}",
        "website": "",
        "isPro": False,
        "orgs": [organisation_claims(each) | {"roleInOrg": "write"} for each in organisations],
    }


def organisation_claims(name: str) -> dict[str, Any]:
    return {"sub": identifier(name), "name": name.title(), "preferred_username": name, "picture": ""}


def identifier(name: str) -> str:
    return hashlib.md5(name.encode()).hexdigest()[:24]


def information(
    repository_id: str, about: Repository, commit: str, files: list[StoredFile], *, sizes: bool
) -> dict[str, Any]:
    library = "diffusers" if any(file.name == "model_index.json" for file in files) else None
    return {
        "_id": commit[:24],
        "id": repository_id,
        "modelId": repository_id,
        "author": repository_id.partition("/")[0],
        "sha": commit,
        "createdAt": CREATED_AT,
        "lastModified": CREATED_AT,
        "private": about.private,
        "gated": "manual" if about.gated else False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": [library] if library else [],
        "library_name": library,
        "pipeline_tag": "text-to-image",
        "cardData": dict(about.card),
        "siblings": [sibling(file, sizes=sizes) for file in files],
    }


def sibling(file: StoredFile, *, sizes: bool) -> dict[str, Any]:
    if not sizes:
        return {"rfilename": file.name}
    large = {"lfs": {"sha256": file.sha256, "size": file.size, "pointerSize": POINTER_SIZE}} if file.is_large else {}
    return {"rfilename": file.name, "blobId": file.git, "size": file.size, **large}


def entry(file: StoredFile) -> dict[str, Any]:
    """Returns an entry of a folder's listing."""
    large = {"lfs": {"oid": file.sha256, "size": file.size, "pointerSize": POINTER_SIZE}} if file.is_large else {}
    return {"type": "file", "path": file.name, "size": file.size, "oid": file.git, **large}
