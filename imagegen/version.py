"""The version of the studio, stated by `--version`, `GET /v1/status` and every receipt."""

from __future__ import annotations

VERSION = "0.2.0"
