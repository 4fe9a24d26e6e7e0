"""The routes of the stand-in."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import parse_qs, quote

from tests.hub import response_bodies
from tests.hub.file_responses import send_file
from tests.hub.openid import OpenIdRequestHandler
from tests.hub.repository_store import Repository, StoredFile
from tests.hub.request_handler import HubError

MODEL = r"(?P<model>[^/]+/[^/]+)"
CONFIGURATION = re.compile(r"/\.well-known/openid-configuration")
KEYS = re.compile(r"/oauth/jwks")
AUTHORIZE = re.compile(r"/oauth/authorize")
TOKEN = re.compile(r"/oauth/token")
USERINFO = re.compile(r"/oauth/userinfo")
WHOAMI = re.compile(r"/api/whoami-v2")
MAY_READ = re.compile(rf"/api/models/{MODEL}/auth-check")
INFO = re.compile(rf"/api/models/{MODEL}(?:/revision/(?P<revision>[^/]+))?")
TREE = re.compile(rf"/api/models/{MODEL}/tree/(?P<revision>[^/]+)(?:/(?P<folder>.+))?")
RESOLVE = re.compile(rf"/{MODEL}/resolve/(?P<revision>[^/]+)/(?P<name>.+)")
LARGE_FILE = re.compile(rf"/lfs/{MODEL}/(?P<sha256>[0-9a-f]{{64}})/(?P<name>.+)")

Routes = dict[re.Pattern[str], Callable[..., None]]


class HubRequestHandler(OpenIdRequestHandler):
    def route(self) -> None:
        forms: Routes = {TOKEN: self.token}
        pages: Routes = {
            CONFIGURATION: self.configuration,
            KEYS: self.keys,
            AUTHORIZE: self.authorize,
            USERINFO: self.userinfo,
            WHOAMI: self.whoami,
            MAY_READ: self.may_read,
            TREE: self.tree,
            INFO: self.info,
            LARGE_FILE: self.large_file,
            RESOLVE: self.resolve,
        }
        for pattern, answer in (forms if self.command == "POST" else pages).items():
            if match := pattern.fullmatch(self.current_request.path):
                answer(**{name: value for name, value in match.groupdict().items() if value is not None})
                return
        raise HubError(404, "", "Sorry, there is no such page.")

    def whoami(self) -> None:
        if self.user is None:
            raise HubError(401, "", "Invalid username or password.")
        self.send_json(response_bodies.person(self.user, self.organisations(self.user)))

    def may_read(self, model: str) -> None:
        self.require_readable(model)
        self.send_json({})

    def info(self, model: str, revision: str = "main") -> None:
        about, files = self.require_visible(model), self.state.store.files(model)
        commit = self.commit(model, revision)
        sizes = parse_qs(self.current_request.query).get("blobs", ["false"])[0].lower() in ("true", "1")
        sizes = sizes and self.state.lists_sizes
        self.send_json(response_bodies.information(model, about, commit, list(files.values()), sizes=sizes))

    def tree(self, model: str, revision: str, folder: str = "") -> None:
        self.require_visible(model)
        self.commit(model, revision)
        files = self.state.store.files(model).values()
        self.send_json(
            [response_bodies.entry(file) for file in files if not folder or file.name.startswith(f"{folder}/")]
        )

    def resolve(self, model: str, revision: str, name: str) -> None:
        """Sends a small file; redirects to the address of a large one."""
        self.require_readable(model)
        commit = {"X-Repo-Commit": self.commit(model, revision)}
        file = self.state.store.files(model).get(name)
        if file is None:
            raise HubError(404, "EntryNotFound", "Entry not match", commit)
        if not file.is_large:
            self.send(file, commit | {"ETag": f'"{file.git}"'})
            return
        location = f"{self.state.files_url}/lfs/{model}/{file.sha256}/{quote(name)}"
        large = {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(file.size), "Location": location}
        self.send_json({}, 302, commit | large)

    def large_file(self, model: str, sha256: str, name: str) -> None:
        """Sends a large file without checking a token, as the Hub does for its signed addresses."""
        file = self.state.store.files(model).get(name) if self.state.store.find_repository(model) else None
        if file is None or file.sha256 != sha256:
            raise HubError(404, "", "There is no such file.")
        self.send(file, {"ETag": f'"{sha256}"'})

    def send(self, file: StoredFile, headers: dict[str, str]) -> None:
        fault = None
        if self.command == "GET":
            fault = self.state.faults.take(str(self.current_request), about_contents=True)
        send_file(self, file.path, headers, fault, self.state.closing)

    def require_visible(self, model: str) -> Repository:
        user, about = self.user, self.state.store.find_repository(model)
        if about is None or (about.private and user not in about.readers):
            # Without a token, the Hub gives the same answer for a missing repository and a private one.
            raise HubError(404 if user else 401, "RepoNotFound", "Repository not match")
        return about

    def require_readable(self, model: str) -> Repository:
        about = self.require_visible(model)
        if about.gated and self.user not in about.readers:
            message = f"Access to model {model} is restricted and you are not in the authorized list."
            raise HubError(403 if self.user else 401, "GatedRepo", message)
        return about

    def commit(self, model: str, revision: str) -> str:
        commit = self.state.store.commit(model)
        if revision not in ("main", commit):
            raise HubError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit
