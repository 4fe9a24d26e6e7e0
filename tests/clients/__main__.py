"""Asks each API of a studio, and writes outcomes.json and docs/clients.md."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.acceptance.conftest import running_studio
from tests.clients.outcomes import ask_gradio_doors, ask_http_doors, store_outcomes
from tests.clients.page import PAGE, build_page


def main() -> None:
    with TemporaryDirectory() as folder:
        by_http = asyncio.run(ask_http_doors(Path(folder) / "in process"))
        with running_studio(Path(folder)) as studio:
            by_gradio = asyncio.run(ask_gradio_doors(studio.url))
    outcomes = {case: row | by_gradio[case] for case, row in by_http.items()}
    store_outcomes(outcomes)
    PAGE.write_text(build_page(outcomes), encoding="utf-8")


if __name__ == "__main__":
    main()
