"""The picture area as HTML. Whatever comes from outside is escaped here."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from html import escape
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

from PIL import Image

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
    "loras": "LoRAs",
    "embeddings": "Embeddings",
}


def empty() -> str:
    hint = "<span>What you describe will be painted here.</span><kbd>Ctrl + Enter</kbd>"
    return frame(f'<p class="hint">{hint}</p>', "empty", ratio=1)


def preview(jpeg: str, share: float) -> str:
    """The picture so far; of a batch, all of them on one sheet. With the share that is done, the blur goes."""
    with Image.open(BytesIO(b64decode(jpeg))) as sheet:
        ratio = sheet.width / sheet.height
    image = f'<img src="data:image/jpeg;base64,{escape(jpeg)}" alt="The picture so far">'
    return frame(image, "preview", ratio, share)


def finished(picture: Picture, file: Path) -> str:
    image = f'<img src="{file_url(file)}" alt="{escape(picture.receipt.prompt)}">'
    return frame(image, "finished", picture.receipt.width / picture.receipt.height)


def frame(content: str, state: str, ratio: float, share: float = 1) -> str:
    return f'<div class="stage {state}" style="--ratio: {ratio:.4f}; --share: {share:.2f}">{content}</div>'


def idle() -> str:
    return line("idle", "")


def told(state: str, text: str) -> str:
    """One line about how things stand: `preparing`, `done`, `stopped` or `failed`."""
    return line(state, f"<span>{escape(text)}</span>")


def waiting(text: str) -> str:
    return bar(None, text) + line("running", f"<span>{escape(text)}</span>")


def painting(progress: Progress) -> str:
    """Readers of the screen are told the state and can ask for the rest; they are not told each step."""
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


def no_details() -> str:
    return '<p class="hint">How a picture was made, and those before it, will stand here.</p>'


def nothing_here() -> str:
    return '<p class="hint">There is none here yet.</p>'


def details(picture: Picture, file: Path) -> str:
    receipt = picture.receipt
    values = receipt.model_dump() | {
        "size": f"{receipt.width} \N{MULTIPLICATION SIGN} {receipt.height}",
        "loras": ", ".join(f"{used.lora} {used.weight:g}" for used in receipt.loras) or None,
        "embeddings": ", ".join(used.embedding for used in receipt.embeddings) or None,
    }
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
