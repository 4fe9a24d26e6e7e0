"""The Gradio page in the language of the request that asks for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape, unescape
from typing import Any

import gradio as gr

from imagegen.languages.catalogue import ENGLISH, LANGUAGES, Language, read_catalogue
from imagegen.languages.messages import translate_message
from imagegen.languages.translation import get_language, translate, use_language

# What Gradio shows of each component.
TEXT_PROPERTIES = ("label", "info", "placeholder")
HTML_TEXT = re.compile(r"(?<=>)[^<>]+(?=<)|(?<=aria-label=\")[^\"]+(?=\")")


class Page(gr.Blocks):
    """Gradio sends `config` to the browser with the page; programs get the English one from other routes."""

    @property
    def config(self) -> Any:
        language = get_language()
        return {**translate_config(self._config), "studio_language": describe_language(language)}

    @config.setter
    def config(self, config: Any) -> None:
        self._config = config

    def get_api_info(self, *arguments: Any, **options: Any) -> Any:
        """Returns what programs can call. Gradio keeps it for all requests."""
        with use_language(ENGLISH):
            return super().get_api_info(*arguments, **options)


def describe_language(language: Language) -> dict[str, Any]:
    """Returns what the page's scripts need: the language, its texts, and the languages that can be chosen."""
    return {
        "code": language.code,
        "tag": language.tag,
        "texts": read_catalogue(language),
        "names": {each.code: each.name for each in LANGUAGES.values()},
    }


def translate_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns Gradio's description of a page with the texts of its components in the language of the request.

    The browser gets no names of endpoints' parameters: it would look for a translation of each.
    """
    return {**config, "components": [translate_component(each) for each in config["components"]]}


def translate_component(component: Mapping[str, Any]) -> Mapping[str, Any]:
    properties = component["props"]
    if component["type"] == "api":
        return {**component, "props": {**properties, "label": ""}}
    if get_language() is ENGLISH or not is_on_the_page(component):
        return component
    return {**component, "props": translate_properties(component["type"], properties)}


def is_on_the_page(component: Mapping[str, Any]) -> bool:
    """Returns whether people see a component; the others are the parameters of endpoints, and controls for scripts."""
    return bool(component["type"] != "api" and component["props"].get("visible") != "hidden")


def translate_properties(component: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    shown = {name: properties.get(name) for name in TEXT_PROPERTIES}
    texts: dict[str, Any] = {name: translate_message(text) for name, text in shown.items() if isinstance(text, str)}
    match component, properties:
        case "button", {"value": str(value)}:
            texts["value"] = translate_message(value)
        case "html", {"value": str(value)}:
            texts["value"] = HTML_TEXT.sub(lambda match: escape(translate(unescape(match[0]))), value)
        case "radio" | "dropdown", {"choices": list(choices)}:
            texts["choices"] = [(translate(label), value) for label, value in choices]
    return {**properties, **texts}
