"""Pictures and what is known of them as HTML. Text from outside is escaped here."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Sequence
from html import escape
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from imagegen.languages.translation import mark
from imagegen.schema.receipt import Picture, RequestedAs, UsedReference
from imagegen.text import truncate
from ui.components.examples import EXAMPLES
from ui.components.html import translate_html
from ui.workspace.history import PictureHistory

# Characters of a prompt as the name of a picture.
MAX_NAME = 120
FORMATS = ("png", "webp", "jpeg")
RECEIPT_LABELS = {
    "seed": mark("Seed"),
    "variation_seed": mark("Variation seed"),
    "variation_strength": mark("Variation strength"),
    "size": mark("Size"),
    "steps": mark("Steps"),
    "unfinished_at_step": mark("Unfinished at step"),
    "guidance_scale": mark("Guidance"),
    "sampler": mark("Sampler"),
    "strength": mark("Strength"),
    "hires_upscaler": mark("Hires upscaler"),
    "upscaler": mark("Upscaler"),
    "model_id": mark("Model"),
    "loras": mark("LoRAs"),
    "embeddings": mark("Embeddings"),
    "controls": mark("ControlNet"),
    "references": mark("Reference pictures"),
    "vae": mark("VAE"),
    "detail_detector": mark("Detail detector"),
}


def render_empty() -> str:
    """Returns the stage before the first picture: pictures with their prompts. page.js paints the one clicked."""
    tiles = "".join(
        f'<button type="button" class="example" data-example="{escape(example.prompt)}">'
        f'<img src="{example.address}" alt=""><span>{escape(example.prompt)}</span></button>'
        for example in EXAMPLES
    )
    return (
        '<div class="stage empty"><div class="welcome"><p class="hint">'
        f"{translate_html('Describe a picture, or paint one of these.')}</p>"
        f'<div class="examples">{tiles}</div></div></div>'
    )


def render_preview(jpeg: str, share: float) -> str:
    """Returns a preview, for a batch one sheet of all pictures. The blur decreases with the finished share."""
    with Image.open(BytesIO(b64decode(jpeg))) as sheet:
        ratio = sheet.width / sheet.height
    image = f'<img src="data:image/jpeg;base64,{escape(jpeg)}" alt="{translate_html("The picture so far")}">'
    return render_frame(image, "preview", ratio, share)


def render_picture(picture: Picture, file: Path) -> str:
    image = f'<img src="{build_file_url(file)}" alt="{escape(picture.receipt.prompt)}">'
    return render_frame(image, "finished", picture.receipt.size[0] / picture.receipt.size[1])


def render_frame(content: str, state: str, ratio: float, share: float = 1) -> str:
    return f'<div class="stage {state}" style="--ratio: {ratio:.4f}; --share: {share:.2f}">{content}</div>'


def render_running(share: float, preview: str | None = None) -> str:
    """Returns the tile of the running job. A click shows its preview again."""
    image = f'<img src="data:image/jpeg;base64,{escape(preview)}" alt="">' if preview else ""
    return (
        f'<button type="button" data-show="" style="--share: {share:.2f}" aria-label="'
        f'{translate_html("Show the running job")}">{image}<span>{share:.0%}</span></button>'
    )


def render_strip(history: PictureHistory) -> str:
    """Returns the thumbnails, newest first. page.js shows the picture of the one that is clicked."""
    shown = history.shown and history.shown.id
    tiles = "".join(render_thumbnail(picture, picture.id == shown) for picture in history.pictures)
    return f'<ol aria-label="{translate_html("Your newest pictures")}">{tiles}</ol>' if tiles else ""


def render_thumbnail(picture: Picture, is_shown: bool) -> str:
    name = escape(truncate(picture.receipt.prompt, MAX_NAME))
    current = ' aria-current="true"' if is_shown else ""
    return (
        f'<li><button type="button" data-show="{picture.id}" aria-label="{name}"{current}>'
        f'<img src="v1/pictures/{picture.id}/thumbnail" alt="" loading="lazy"></button></li>'
    )


def render_file_actions(picture: Picture) -> str:
    """Returns what page.js does with a picture: download, mark and delete.

    The links say `download`: without it, the browser takes the click for leaving the page, and Gradio's client ends
    its connection.
    """
    address = f"v1/images/{picture.id}?download=true"
    links = "".join(f'<a download href="{address}&amp;format={name}">{name.upper()}</a>' for name in FORMATS)
    formats, large, favourite, delete = (
        translate_html(text) for text in (mark("Other formats"), mark("Large view"), mark("Favourite"), mark("Delete"))
    )
    return (
        f'<a class="download" download href="{address}">{translate_html("Download")}</a>'
        f'<details class="menu"><summary aria-label="{formats}"></summary><div>{links}</div></details>'
        f'<button type="button" data-large="{picture.id}" aria-label="{large}"></button>'
        f'<button type="button" data-favourite="{picture.id}" aria-pressed="false" aria-label="{favourite}"></button>'
        f'<button type="button" data-delete="{picture.id}" aria-label="{delete}"></button>'
    )


def render_details(picture: Picture) -> str:
    receipt = picture.receipt
    values = receipt.model_dump() | {
        "size": " \N{MULTIPLICATION SIGN} ".join(map(str, receipt.size)),
        "variation_strength": receipt.variation_strength or None,
        "loras": ", ".join(f"{used.lora} {used.weight:g}" for used in receipt.loras) or None,
        "embeddings": ", ".join(used.embedding for used in receipt.embeddings) or None,
        "controls": ", ".join(f"{used.controlnet} {used.weight:g}" for used in receipt.controls) or None,
        "references": describe_references(receipt.references),
    }
    facts = "".join(
        f"<div><dt>{translate_html(label)}</dt><dd>{escape(str(values[name]))}</dd></div>"
        for name, label in RECEIPT_LABELS.items()
        if values[name] is not None
    )
    receipt_json = escape(json.dumps(receipt.model_dump(), ensure_ascii=False, indent=2))
    return (
        f'<p class="prompt">{escape(receipt.prompt)}</p>{render_written(receipt.requested)}<dl>{facts}</dl>'
        f"<details><summary>{translate_html('Receipt')}</summary><pre>{receipt_json}</pre></details>"
    )


def render_written(requested: RequestedAs | None) -> str:
    """Returns the prompts in which choices were made, as they were written. prompt.js puts them into the form."""
    prompts = requested.model_dump(include={"prompt", "negative_prompt"}, exclude_none=True) if requested else {}
    if not prompts:
        return ""
    text = escape(" / ".join(prompts.values()))
    return (
        f'<p class="written"><span>{translate_html("Written as")}</span> <q>{text}</q> <button type="button"'
        f' data-written="{escape(json.dumps(prompts))}">{translate_html("Use as written")}</button></p>'
    )


def describe_references(references: Sequence[UsedReference]) -> str | None:
    """Returns the IP-Adapters of reference pictures with their weights, else how many there are; None for none."""
    names = [f"{used.ip_adapter} {used.weight:g}" for used in references if used.ip_adapter is not None]
    return ", ".join(names) or str(len(references) or "") or None


def build_file_url(file: Path) -> str:
    """Returns a relative address, which works behind any proxy."""
    return f"gradio_api/file={quote(str(file))}"
