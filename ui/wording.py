"""How the state of a job is put into words, the same on the page and for programs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr

from imagegen.api.errors import known
from imagegen.errors import in_words
from imagegen.info import Step
from imagegen.schema import Loading, Progress, Queued, Result, Started

STOPPED = "Stopped"


def describe(event: Queued | Started | Loading | Progress) -> str:
    match event:
        case Queued():
            return f"{'Warming up' if event.warming_up else 'Waiting'}{place(event)}"
        case Started():
            return "Starting"
        case Loading():
            return f"Loading {event.model}"
        case Progress():
            return f"Step {event.step} of {event.steps}"


def done(result: Result) -> str:
    return "Kept from before" if result.pictures[0].receipt.cached else f"Done in {result.latency_ms / 1000:.1f} s"


def told(step: Step) -> str:
    """How far a model or an adapter is on its way."""
    match step.doing:
        case "downloading":
            return f"Downloading: {in_words(step.received or 0)} of {in_words(step.size or 0)}"
        case "loading":
            return "Loading"
        case "asking the Hub":
            return "Asking the Hub"
        case "done":
            return "Ready"


def place(event: Queued) -> str:
    if event.position:
        return f", {event.position} ahead of you"
    return "" if event.warming_up else ", you are next"


def time_left(seconds: float) -> str:
    if seconds < 60:
        return f"about {max(1, round(seconds))} s left"
    return f"about {round(seconds / 60)} min left"


@contextmanager
def refused() -> Iterator[None]:
    """For programs: whatever goes wrong is told in one line, with its code for a title, and nothing else of it."""
    try:
        yield
    except Exception as error:
        told = known(error)
        raise gr.Error(str(told), title=told.code, print_exception=False) from None


def message_of(error: Exception) -> str:
    """What to tell whoever asked. What nobody foresaw goes to the log, and only there."""
    return str(known(error))
