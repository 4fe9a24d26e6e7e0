"""The Gradio endpoint and the MCP tool do with wrong values what docs/clients.md says.

`tests/unit/test_clients_page.py` asks the other APIs.
"""

from __future__ import annotations

from tests.acceptance.conftest import Studio, run_coroutine
from tests.clients.gradio_doors import GRADIO_DOORS
from tests.clients.outcomes import ask_gradio_doors, load_outcomes, select_apis


def test_the_page_says_what_they_do(studio: Studio) -> None:
    asked = run_coroutine(ask_gradio_doors(studio.url))
    assert asked == select_apis(load_outcomes(), GRADIO_DOORS), "run python -m tests.clients"
