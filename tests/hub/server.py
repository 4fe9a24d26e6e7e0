"""A stand-in for the Hugging Face Hub on loopback, for the real client.

    with StandInHub(root) as hub:
        subprocess.run([...], env=os.environ | hub.environment(home))

The client reads its environment when it is imported. In this process, pass `endpoint=hub.url` instead.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Mapping, Sequence
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.hub.faults import Fault, Faults
from tests.hub.file_responses import hang_up
from tests.hub.openid import CLIENT_ID, CLIENT_SECRET
from tests.hub.repository_store import Repository, RepositoryStore
from tests.hub.routes import HubRequestHandler
from tests.hub.state import Request, State

# The token of the owner of the private repositories, and that of a user who may read none of them.
OWNER, STRANGER = "hf_owner", "hf_stranger"
USERS = {OWNER: "studio", STRANGER: "stranger"}


class StandInHub:
    """Serves `root/<owner>/<name>/` and what `repositories` builds there, to `users` (names by token).

    `organisations` are those that a user belongs to, by user name. Large files are sent from another host name than the
    rest, as on the Hub. Without `lists_sizes`, lists of files have no sizes and no checksums, as on some mirrors.
    """

    def __init__(
        self,
        root: Path,
        repositories: Mapping[str, Repository] | None = None,
        users: Mapping[str, str] | None = None,
        port: int = 0,
        organisations: Mapping[str, Sequence[str]] | None = None,
        lists_sizes: bool = True,
    ) -> None:
        repositories_by_id = repositories or {}
        faults = Faults(fault for repository in repositories_by_id.values() for fault in repository.faults)
        users_by_token = dict(USERS if users is None else users)
        store = RepositoryStore(root, repositories_by_id)
        self._state = State(store, users_by_token, organisations or {}, faults, lists_sizes)
        self._server = _Server(("127.0.0.1", port), type("Handler", (HubRequestHandler,), {"state": self._state}))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="stand-in hub")
        self.port: int = self._server.server_address[1]
        self.url = self._state.url = f"http://127.0.0.1:{self.port}"
        self._state.files_url = f"http://localhost:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._state.closing.set()
        self._server.shutdown()
        self._thread.join()
        for connection in list(self._state.connections):
            hang_up(connection)
        self._server.server_close()

    @property
    def log(self) -> list[Request]:
        """All requests so far, oldest first."""
        return self._state.log

    def requests(self, pattern: str) -> list[Request]:
        """Returns the requests whose "METHOD /path" contains the pattern."""
        return [request for request in list(self.log) if re.search(pattern, str(request))]

    def environment(self, home: Path) -> dict[str, str]:
        """Returns environment variables that make the client use this hub, with cache and token in `home`."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_CACHE": str(home / "hub"),
            "HF_TOKEN_PATH": str(home / "token"),
            "HF_HUB_OFFLINE": "0",
            "TRANSFORMERS_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
            # The client must wait while a model is built.
            "HF_HUB_ETAG_TIMEOUT": "60",
        }

    def sign_in_environment(self) -> dict[str, str]:
        """Returns environment variables that configure sign-in with this hub, as in a Space with `hf_oauth`."""
        return {
            "OAUTH_CLIENT_ID": CLIENT_ID,
            "OAUTH_CLIENT_SECRET": CLIENT_SECRET,
            "OAUTH_SCOPES": "openid profile",
            "OPENID_PROVIDER_URL": self.url,
        }

    def revoke(self, token: str) -> None:
        """Invalidates a token. Its owner can still sign in."""
        self._state.revoked.add(token)

    def build(self, *repository_ids: str) -> None:
        """Builds repositories in advance, so that no request waits for them."""
        for repository_id in repository_ids:
            self._state.store.folder(repository_id)

    def add_fault(
        self,
        pattern: str,
        *,
        times: int | None = 1,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        delay: float = 0.0,
        cut: int | None = None,
        slow: int | None = None,
    ) -> None:
        """Adds a fault for later requests; see `Fault`."""
        self._state.faults.add(Fault(pattern, times, status, headers or {}, delay, cut, slow))

    def clear_faults(self) -> None:
        """Removes all faults that were added. Responses that are slow go on at full speed."""
        self._state.faults.clear()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores disconnects of clients, which tests cause on purpose."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)
