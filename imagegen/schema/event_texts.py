"""The texts for the progress of a job and of a download, which all doors share."""

from __future__ import annotations

from imagegen.schema.events import Loading, Progress, Queued, Started
from imagegen.schema.models import LoadProgress
from imagegen.text import format_bytes


def describe_event(event: Queued | Started | Loading | Progress) -> str:
    match event:
        case Queued():
            return f"{'Warming up' if event.warming_up else 'Waiting'}{describe_queue_position(event)}"
        case Started():
            return "Starting"
        case Loading():
            return f"Loading {event.model}"
        case Progress():
            stage = f"Stage {event.stage} of {event.stages}, step" if event.stages > 1 else "Step"
            return f"{stage} {event.step} of {event.steps}"


def describe_queue_position(event: Queued) -> str:
    if event.position:
        return f", {event.position} ahead of you"
    return "" if event.warming_up else ", you are next"


def describe_load_progress(load_progress: LoadProgress) -> str:
    """Returns the progress of loading a model or an adapter."""
    match load_progress.doing:
        case "downloading":
            return (
                f"Downloading: {format_bytes(load_progress.received or 0)} of {format_bytes(load_progress.size or 0)}"
            )
        case "loading":
            return "Loading"
        case "asking the Hub":
            return "Asking the Hub"
        case "done":
            return "Ready"
