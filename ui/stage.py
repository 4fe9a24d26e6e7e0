"""The picture area as HTML. Whatever comes from outside is escaped here."""

from __future__ import annotations

import json
import re
from html import escape
from pathlib import Path
from urllib.parse import quote

from imagegen.schema import Picture, Progress, Receipt
from ui.wording import describe, time_left

FACTS = {
    "seed": "Seed",
    "size": "Size",
    "steps": "Steps",
    "guidance_scale": "Guidance",
    "sampler": "Sampler",
    "strength": "Strength",
    "model_id": "Model",
}


def empty() -> str:
    return frame('<p class="hint">What you describe will be painted here.</p>', "empty")


def preview(jpeg: str, progress: Progress) -> str:
    """The picture so far. It is blurred less and less, as there is more and more to see."""
    image = f'<img src="data:image/jpeg;base64,{escape(jpeg)}" alt="The picture so far">'
    return frame(image, "preview", share=progress.share)


def finished(picture: Picture, file: Path) -> str:
    return frame(f'<img src="{file_url(file)}" alt="{escape(picture.receipt.prompt)}">', "finished", share=1)


def frame(content: str, state: str, share: float = 0) -> str:
    return f'<div class="stage {state}" style="--share: {share:.2f}">{content}</div>'


def idle() -> str:
    return line("idle", "")


def told(state: str, text: str) -> str:
    """One line about how things stand: `done`, `stopped`, or `failed`."""
    return line(state, f'<span class="what">{escape(text)}</span>')


def running(text: str, progress: Progress | None = None) -> str:
    """Readers of the screen are told the state and can ask for the rest; they are not told each step."""
    if progress is None:
        return bar(None, text) + line("running", f'<span class="what">{escape(text)}</span>')
    facts = [describe(progress), f"{progress.share:.0%}"]
    if progress.seconds_left is not None:
        facts.append(time_left(progress.seconds_left))
    spans = "".join(f"<span>{escape(fact)}</span>" for fact in facts)
    steps = f'<span class="only-heard">Painting</span><span class="steps" aria-hidden="true">{spans}</span>'
    return bar(progress.share, ", ".join(facts)) + line("running", steps)


def bar(share: float | None, text: str) -> str:
    now = "" if share is None else f' aria-valuenow="{share:.0%}"'.replace("%", "")
    width = "" if share is None else f' style="width: {share:.1%}"'
    return (
        f'<div class="bar{" waiting" if share is None else ""}" role="progressbar" aria-label="Progress"'
        f' aria-valuemin="0" aria-valuemax="100"{now} aria-valuetext="{escape(text)}"><div{width}></div></div>'
    )


def line(state: str, content: str) -> str:
    role = "alert" if state == "failed" else "status"
    return f'<p class="state {state}" role="{role}">{content}</p>'


def details(picture: Picture, file: Path) -> str:
    receipt = picture.receipt
    values = receipt.model_dump() | {"size": f"{receipt.width} × {receipt.height}"}
    facts = "".join(
        f"<div><dt>{label}</dt><dd>{escape(str(values[name]))}</dd></div>"
        for name, label in FACTS.items()
        if values[name] is not None
    )
    whole = escape(json.dumps(receipt.model_dump(), ensure_ascii=False, indent=2))
    return (
        f'<p class="prompt">{escape(receipt.prompt)}</p><dl>{facts}</dl>'
        f'<a class="download" href="{file_url(file)}" download="{file_name(receipt)}">Download</a>'
        f"<details><summary>Receipt</summary><pre>{whole}</pre></details>"
    )


def file_url(file: Path) -> str:
    """Relative, so that it is right behind any proxy."""
    return f"gradio_api/file={quote(str(file))}"


def file_name(receipt: Receipt) -> str:
    words = re.findall(r"[a-z0-9]+", receipt.prompt.lower())
    return "-".join([*words[:8], str(receipt.seed)]) + ".png"
