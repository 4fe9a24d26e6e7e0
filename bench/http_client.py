"""An HTTP client with as little overhead as possible."""

from __future__ import annotations

import http.client
import json
from typing import Any


class HttpClient:
    """One connection that is reused. Its methods raise AssertionError for an error status."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def get(self, path: str) -> bytes:
        return self._request("GET", path)

    def post(self, path: str, body: Any) -> Any:
        return json.loads(self._request("POST", path, json.dumps(body)))

    def _request(self, method: str, path: str, body: str | None = None) -> bytes:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        self._connection.request(method, path, body, headers)
        response = self._connection.getresponse()
        content = response.read()
        assert 200 <= response.status < 300, content[:500]
        return content
