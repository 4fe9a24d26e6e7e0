"""What each API of the studio did with each case: asked anew, and as `outcomes.json` keeps it for the page."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

from tests.clients.cases import CASES, Fields, Outcome
from tests.clients.gradio_doors import GRADIO_DOORS
from tests.clients.http_doors import HTTP_DOORS
from tests.unit.in_process_studio import run_in_process_studio

OUTCOMES = Path(__file__).with_name("outcomes.json")
Target = TypeVar("Target")
Asks = Mapping[str, Callable[[Target, Fields], Coroutine[Any, Any, Outcome]]]
Outcomes = dict[str, dict[str, str]]


def load_outcomes() -> Outcomes:
    outcomes: Outcomes = json.loads(OUTCOMES.read_text(encoding="utf-8"))
    return outcomes


def store_outcomes(outcomes: Outcomes) -> None:
    OUTCOMES.write_text(json.dumps(outcomes, indent=2) + "\n", encoding="utf-8")


async def ask_http_doors(folder: Path) -> Outcomes:
    """Asks an in-process studio, which keeps its data in `folder`."""
    async with run_in_process_studio(folder, requests_per_minute=10 * len(CASES) * len(HTTP_DOORS)) as studio:
        return await ask_all(HTTP_DOORS, studio)


async def ask_gradio_doors(url: str) -> Outcomes:
    """Asks a running studio."""
    return await ask_all(GRADIO_DOORS, url)


async def ask_all(asks: Asks[Target], target: Target) -> Outcomes:
    return {
        case.name: {name: (await ask(target, case.fields)).describe(case) for name, ask in asks.items()}
        for case in CASES
    }


def select_apis(outcomes: Outcomes, apis: Mapping[str, object]) -> Outcomes:
    """Returns the outcomes of some APIs."""
    return {case: {api: text for api, text in row.items() if api in apis} for case, row in outcomes.items()}
