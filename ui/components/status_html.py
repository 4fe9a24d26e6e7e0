"""The line that tells how things stand, as HTML. Text from outside is escaped here."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from imagegen.languages.messages import translate_message
from imagegen.schema.event_texts import describe_event
from imagegen.schema.events import Progress
from imagegen.text import truncate
from ui.components.html import translate_html
from ui.messages import Problem, format_time_left
from ui.workspace.followed_jobs import FollowedJob

# Characters of a prompt in the queue.
MAX_QUEUED_PROMPT = 80


def render_idle() -> str:
    return render_line("idle", "")


def render_status(state: str, text: str, button: str = "") -> str:
    """Returns a status line. The state is `preparing`, `done` or `stopped`. `button` is HTML after the text."""
    return render_line(state, f"<span>{escape(text)}</span>{button}")


def render_problem(problem: Problem | str) -> str:
    """Returns an error. page.js also shows it at the control of its field."""
    problem = Problem(problem) if isinstance(problem, str) else problem
    field = f' data-field="{escape(problem.field)}"' if problem.field else ""
    return f'<p class="state failed" role="alert"{field}><span>{escape(problem.text)}</span></p>'


def render_undo(text: str) -> str:
    """Returns a text with a button that page.js connects with the hidden button `form-undo`."""
    button = f'<button type="button" data-press="form-undo">{translate_html("Undo")}</button>'
    return render_status("done", text, button)


def render_waiting(text: str) -> str:
    return render_progress_bar(None, text) + render_line("running", f"<span>{escape(text)}</span>")


def render_progress(progress: Progress) -> str:
    """Screen readers announce the state, and can read the progress bar on demand; they do not announce each step."""
    facts = [translate_message(describe_event(progress)), f"{progress.fraction:.0%}"]
    if progress.seconds_left is not None:
        facts.append(format_time_left(progress.seconds_left))
    spans = "".join(f"<span>{escape(fact)}</span>" for fact in facts)
    steps = f'<span class="screen-reader-only">{translate_html("Painting")}</span>'
    steps += f'<span class="steps" aria-hidden="true">{spans}</span>'
    return render_progress_bar(progress.fraction, ", ".join(facts)) + render_line("running", steps)


def render_progress_bar(share: float | None, text: str) -> str:
    value_attribute = "" if share is None else f' aria-valuenow="{share:.0%}"'.replace("%", "")
    width = "" if share is None else f' style="width: {share:.1%}"'
    return (
        f'<div class="bar{" waiting" if share is None else ""}" role="progressbar"'
        f' aria-label="{translate_html("Progress")}"'
        f' aria-valuemin="0" aria-valuemax="100"{value_attribute} aria-valuetext="{escape(text)}">'
        f"<div{width}></div></div>"
    )


def render_line(state: str, content: str) -> str:
    return f'<p class="state {state}" role="status">{content}</p>'


def render_queue(jobs: Sequence[FollowedJob]) -> str:
    """Returns the list of the user's jobs that wait, each with a button that page.js connects."""
    if not jobs:
        return ""
    cancel = translate_html("Cancel")
    rows = "".join(
        f"<li><span>{escape(truncate(job.prompt, MAX_QUEUED_PROMPT))}</span>"
        f'<button type="button" data-cancel="{job.id}" aria-label="{cancel}: {escape(job.prompt[:MAX_QUEUED_PROMPT])}">'
        f"{cancel}</button></li>"
        for job in jobs
    )
    count = translate_html("{count} more in the queue", count=len(jobs))
    cancel_all = f'<button type="button" data-cancel="all">{translate_html("Cancel all")}</button>'
    header = f"<header><h2>{count}</h2>{cancel_all if len(jobs) > 1 else ''}</header>"
    return f'<section aria-label="{translate_html("Queue")}">{header}<ol>{rows}</ol></section>'
