"""A client for HTTP that costs as little as one can."""

from __future__ import annotations

import http.client
import json
from typing import Any


class Web:
    """One connection that stays open."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def get(self, path: str) -> bytes:
        return self._asked("GET", path)

    def post(self, path: str, body: Any) -> Any:
        return json.loads(self._asked("POST", path, json.dumps(body)))

    def _asked(self, method: str, path: str, body: str | None = None) -> bytes:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        self._connection.request(method, path, body, headers)
        response = self._connection.getresponse()
        content = response.read()
        assert 200 <= response.status < 300, content[:500]
        return content
