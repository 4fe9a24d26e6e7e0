"""What the stand-in answers, route by route."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import parse_qs, quote

from tests.hub import bodies
from tests.hub.connection import Refusal
from tests.hub.openid import OpenIdProvider
from tests.hub.sending import send_file
from tests.hub.shelf import Repository, Stored

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


class Answers(OpenIdProvider):
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
            if found := pattern.fullmatch(self.asked.path):
                answer(**{name: value for name, value in found.groupdict().items() if value is not None})
                return
        raise Refusal(404, "", "Sorry, there is no such page.")

    def whoami(self) -> None:
        if self.user is None:
            raise Refusal(401, "", "Invalid username or password.")
        self.answer(bodies.person(self.user, self.organisations(self.user)))

    def may_read(self, model: str) -> None:
        self.readable(model)
        self.answer({})

    def info(self, model: str, revision: str = "main") -> None:
        about, files = self.visible(model), self.state.shelf.files(model)
        commit = self.commit(model, revision)
        sizes = parse_qs(self.asked.query).get("blobs", ["false"])[0].lower() in ("true", "1")
        self.answer(bodies.information(model, about, commit, list(files.values()), sizes=sizes))

    def tree(self, model: str, revision: str, folder: str = "") -> None:
        self.visible(model)
        self.commit(model, revision)
        files = self.state.shelf.files(model).values()
        self.answer([bodies.entry(file) for file in files if not folder or file.name.startswith(f"{folder}/")])

    def resolve(self, model: str, revision: str, name: str) -> None:
        """A large file is elsewhere, and this says where."""
        self.readable(model)
        commit = {"X-Repo-Commit": self.commit(model, revision)}
        file = self.state.shelf.files(model).get(name)
        if file is None:
            raise Refusal(404, "EntryNotFound", "Entry not found", commit)
        if not file.large:
            self.send(file, commit | {"ETag": f'"{file.git}"'})
            return
        place = f"{self.state.files_url}/lfs/{model}/{file.sha256}/{quote(name)}"
        large = {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(file.size), "Location": place}
        self.answer({}, 302, commit | large)

    def large_file(self, model: str, sha256: str, name: str) -> None:
        """Whoever knows the address may have it, as with the signed ones of the Hub."""
        file = self.state.shelf.files(model).get(name) if self.state.shelf.about(model) else None
        if file is None or file.sha256 != sha256:
            raise Refusal(404, "", "There is no such file.")
        self.send(file, {"ETag": f'"{sha256}"'})

    def send(self, file: Stored, headers: dict[str, str]) -> None:
        fault = None
        if self.command == "GET":
            fault = self.state.faults.take(str(self.asked), about_contents=True)
        send_file(self, file.path, headers, fault, self.state.closing)

    def visible(self, model: str) -> Repository:
        user, about = self.user, self.state.shelf.about(model)
        if about is None or (about.private and user not in about.readers):
            # Without a token, the Hub does not tell the two cases apart from a third: that the token is missing.
            raise Refusal(404 if user else 401, "RepoNotFound", "Repository not found")
        return about

    def readable(self, model: str) -> Repository:
        about = self.visible(model)
        if about.gated and self.user not in about.readers:
            message = f"Access to model {model} is restricted and you are not in the authorized list."
            raise Refusal(403 if self.user else 401, "GatedRepo", message)
        return about

    def commit(self, model: str, revision: str) -> str:
        commit = self.state.shelf.commit(model)
        if revision not in ("main", commit):
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit
