"""How the state of a job is put into words, the same on the page and for programs."""

from __future__ import annotations

import logging

from imagegen.errors import ImageGenError
from imagegen.schema import Progress, Queued, Started

logger = logging.getLogger(__name__)

STOPPED = "Stopped"
UNEXPECTED = "Something went wrong in the studio. Its log says what."


def describe(event: Queued | Started | Progress) -> str:
    match event:
        case Queued():
            return f"{'Warming up' if event.warming_up else 'Waiting'}{place(event)}"
        case Started():
            return "Starting"
        case Progress():
            return f"Step {event.step} of {event.steps}"


def place(event: Queued) -> str:
    if event.position:
        return f", {event.position} ahead of you"
    return "" if event.warming_up else ", you are next"


def time_left(seconds: float) -> str:
    if seconds < 60:
        return f"about {max(1, round(seconds))} s left"
    return f"about {round(seconds / 60)} min left"


def message_of(error: Exception) -> str:
    """What to tell whoever asked. What nobody foresaw goes to the log, and only there."""
    if isinstance(error, ImageGenError):
        return str(error)
    logger.error("Unexpected error", exc_info=error, extra={"action": "unexpected_error"})
    return UNEXPECTED
