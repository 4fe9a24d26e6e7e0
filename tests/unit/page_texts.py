"""Collects the English texts that the catalogues of `imagegen/languages/` must translate."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any, get_args

from imagegen.errors import ImageGenError
from imagegen.languages.translation import PLACEHOLDER
from imagegen.schema.models import Capabilities
from imagegen.schema.tasks import TASKS
from imagegen.schema.validation import PROBLEM_TEMPLATES
from imagegen.workers.base import WorkerState
from ui.page import TEXT_PROPERTIES, is_on_the_page

ROOT = Path(__file__).parents[2]
# Messages that the code makes of parts, or where it does not raise an error.
COMPOSED_MESSAGES = (
    # Of events.
    "Warming up",
    "Warming up, {position} ahead of you",
    "Waiting, {position} ahead of you",
    "Waiting, you are next",
    "Starting",
    "Loading {model}",
    "Step {step} of {steps}",
    # Of fields of a request.
    "cannot be used",
    "cannot be used with {other}",
    "cannot be used with a batch_size of {batch_size}: a request gives up to {most} pictures",
    "is {count} tokens long, and {model} accepts {most}",
    "must be a multiple of {factor}, such as {example}",
    "must be a multiple of {factor}, such as {example},",
    "must be a number",
    "must be at most {limit}",
    "must be between {least} and {most}",
    "must be left out with {name} models",
    "must be greater than {limit} and at most {most}",
    "must be width to height, such as 16:9",
    "must be {value} or left open: there is no {capability}",
    "must have a black part, which mask_invert paints anew",
    "must have a white part, which is painted anew",
    "must have the size of the start image, {needed}, not {given}",
    "must not be that of the start image, {size}",
    "must have at most {most} characters with the lines of its wildcards",
    "must have at most {count} entries with a batch_size of {batch_size}: a request gives up to {most} pictures",
    "must not contain the character {character}",
    "must not contain {tag}: LoRAs are named in prompt",
    "must not contain {tag}: only <lora:name:weight> is supported",
    "{lora} may have one weight, as in <lora:name:weight>",
    "weight in <lora:name:weight> must be a number",
    "must not contain AND in capitals, because prompts cannot be combined",
    "its file cannot be read",
    "its file has more than {size} MB",
    "its file has no line with a choice",
    "its file is not text in UTF-8",
    "there is no wildcard {name}: the folder wildcards of the models folder has none",
    "{embedding} needs its word {word} in a prompt",
    "is {count} different texts over its steps; at most {most} are possible",
    "it has {count} vectors, and a part of a prompt has room for {most}",
    "needs an init_image",
    "or one of {others} is required",
    "should be a valid integer, got a number with a fractional part",
    # Of models and LoRAs.
    "delete files",
    "delete models",
    "download files",
    "download models",
    "HF_TOKEN is not valid",
    "has its weights in pickles alone, which may run code",
    "has no weights",
    "it has several files; name one of them: {files}",
    "it is not a model in diffusers format: it has no {file}",
    "it is not a model in diffusers format: it has no {file}; {advice}",
    "its file {file} is missing or damaged",
    "its terms must be accepted on its page first, by the account whose HF_TOKEN the studio has",
    "it has no tensor {tensor}",
    "it is not a checkpoint of {known}",
    "it is {architecture}, and single files can be {known}; load a folder in diffusers format instead",
    "it is {kind}, which belongs in the folder {folder}",
    "it is {name}, as its {count} input channels say",
    "its tensor {tensor} has no place in its networks",
    "its tensor {tensor} has the shape {shape}, where {expected} is expected",
    "its weights are packed by bitsandbytes, as its tensor {tensor} says",
    "its pipeline is {name}, but diffusers does not maintain it any more",
    "its pipeline is {name}, but it changes the layers of its denoiser during a job, which jobs share",
    "its pipeline is {name}, but it does not draw a picture of a given size from a prompt",
    "its pipeline is {name}, but it does not have one denoiser",
    "its pipeline is {name}, but it draws one prompt at a time",
    "its pipeline is {name}, but it draws pictures of seven sizes only",
    "its pipeline is {name}, but it has no vae",
    "its pipeline is {name}, but it needs a picture besides the prompt",
    "its pipeline is {name}, but it needs the package {package}",
    "its pipeline is {name}, but its denoiser keeps a cache from step to step, which jobs cannot share",
    "its pipeline is {name}, but its pictures begin with tokens that are drawn at random without a seed",
    "its pipeline is {name}, but the installed diffusers has no such class",
    "there is not enough memory for it",
    "it needs a Python package that is not installed here; the log says which",
    "one of its files cannot be read; the log says why",
    "its files do not fit its configuration; the log says why",
    "load a complete model of its architecture first, such as flux.1-schnell",
    "the Hub answered {status}; please try again",
    "the connection failed; the partial download is kept. Please try again",
    "there is no such repository, or the account of HF_TOKEN may not read it",
    "there is no {reference} here. It can be {names}, a Hugging Face repository that was loaded before, or a name in"
    " the {kind} folder",
    "{file} is a link to a place outside of the models folder; the setting follow_links allows such links",
    "{reference} cannot be used: {problem}",
    "{reference} is not on disk yet; load it first",
    # Of LoRA files.
    "half of what it changes at {part} is missing",
    "it is of the kind {kind}, which is not supported",
    "its dora_scale of {part} is for layers that are one, and this model has several",
    "its tensor {name} has no place",
    "its {file} cannot be read",
    "the rank of {layer} is {found}, and {place} says {expected}",
    "the shapes of its tensors for {layer} do not go together",
    "{field} in {place} is {value}, which is not supported",
    "{place} and {tensor} say different things",
    # Of tokens, at the sign-in.
    "a Hugging Face token",
    "a key of this studio",
    "an access token of {provider}",
    # Of the studio.
    "another program has locked it",
    "its model cannot be loaded; the log says why.",
    "the disk fails",
    "the studio is shutting down.",
)
# Functions whose first argument is a text of the page.
PYTHON_FUNCTIONS = {"translate", "translate_html", "mark"}
JAVASCRIPT_CALL = re.compile(r"\btranslate(Count)?\(\s*(\"(?:[^\"\\]|\\.)*\")(?:,\s*(\"(?:[^\"\\]|\\.)*\"))?")
# Errors that no user of the page can see: of the start, of headers, and of the APIs.
NOT_ON_THE_PAGE = {
    "AddressUnavailable", "CrossSiteRequest", "DatabaseTooNew", "DatabaseUnusable", "FolderInUse",
    "FolderUnusable", "IdempotencyKeyReused", "InvalidCatalogue", "InvalidKeysFile", "InvalidLink", "LinkExpired",
    "MethodNotAllowed", "NoPromptInPicture", "SignInRequired", "UnknownRoute", "UnknownUser", "UnsupportedOperation",
    "WrongHost",
}  # fmt: skip
# Errors with a problem as their last positional argument, and the files whose errors can reach the page.
ERRORS_WITH_PROBLEMS = {
    "HubRequestFailed", "InsufficientStorage", "InvalidRequest", "ModelLoadFailed",
    "NothingToKeep", "UnusableModel", "WorkerUnavailable",
}  # fmt: skip
SOURCES_OF_ERRORS = (
    "imagegen/engine", "imagegen/jobs", "imagegen/library", "imagegen/media/inputs.py",
    "imagegen/media/masks.py", "imagegen/media/metadata", "imagegen/model_manager.py",
    "imagegen/schema", "imagegen/service.py", "ui",
)  # fmt: skip


def collect_python_texts() -> Iterator[str]:
    """Yields the texts of all calls of `translate` and of its like."""
    for path in [*ROOT.glob("ui/**/*.py"), *ROOT.glob("imagegen/**/*.py")]:
        for call in find_calls(path):
            if call_name(call) in PYTHON_FUNCTIONS and call.args and isinstance(call.args[0], ast.Constant):
                yield str(call.args[0].value)


def collect_javascript_texts() -> Iterator[str]:
    """Yields the texts of the scripts; of a text with a count, the plural."""
    for path in [*ROOT.glob("ui/*.js")]:
        for is_count, first, second in JAVASCRIPT_CALL.findall(path.read_text(encoding="utf-8")):
            yield json.loads(second if is_count else first)


def collect_page_texts(config: dict[str, Any]) -> Iterator[str]:
    """Yields the texts of the components of a page, as Gradio describes it."""
    for component in filter(is_on_the_page, config["components"]):
        properties = component["props"]
        names = (*TEXT_PROPERTIES, "value") if component["type"] == "button" else TEXT_PROPERTIES
        yield from (text for name in names if isinstance(text := properties.get(name), str))
        if properties.get("elem_id") != "field-model":
            yield from (label for label, value in properties.get("choices") or () if is_label_of(label, value))


def is_label_of(label: object, value: object) -> bool:
    """Returns whether a choice has a text of the page, such as "Whole" for "whole", and not a name."""
    return isinstance(value, str) and value.islower() and label == value.capitalize() and value.isalpha()


def collect_schema_texts() -> Iterator[str]:
    """Yields what the page shows of the schema besides its fields: abilities, states of workers, and tasks."""
    yield from (task.label for task in TASKS.values())
    for name, field in Capabilities.model_fields.items():
        if field.annotation is bool:
            yield field.title or name.replace("_", " ")
    yield from get_args(WorkerState)


def collect_errors() -> Iterator[str]:
    """Yields the templates of the errors that users of the page see, and of the problems in them."""
    for error in list_subclasses(ImageGenError):
        template = " ".join((error.__doc__ or "").split())
        is_problem_alone = re.fullmatch(r"(\{\w+\}: )?\{\w+\}", template)
        if error.__module__.startswith("imagegen.") and error.__name__ not in NOT_ON_THE_PAGE and not is_problem_alone:
            yield template
    yield from (template.replace("{{", "{").replace("}}", "}") for template in PROBLEM_TEMPLATES.values())
    yield from COMPOSED_MESSAGES


def collect_problems() -> Iterator[str]:
    """Yields the problems that are written where an error is raised, with {} in place of each value."""
    for source in SOURCES_OF_ERRORS:
        for path in [ROOT / source] if source.endswith(".py") else (ROOT / source).glob("**/*.py"):
            for call in find_calls(path):
                if call_name(call) in ERRORS_WITH_PROBLEMS:
                    for argument in call.args:
                        yield from describe_text(argument)


def describe_text(node: ast.expr) -> Iterator[str]:
    """Yields a literal text with spaces, so that names are none."""
    match node:
        case ast.Constant(value=str(text)) if " " in text:
            yield text
        case ast.JoinedStr(values=parts):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts)
            if re.search(r"\w", text.replace("{}", "")):
                yield text


def blank_values(text: str) -> str:
    return PLACEHOLDER.sub("{}", text)


def find_calls(path: Path) -> Iterator[ast.Call]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def call_name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def list_subclasses(error: type[ImageGenError]) -> Iterator[type[ImageGenError]]:
    for subclass in error.__subclasses__():
        yield subclass
        yield from list_subclasses(subclass)


def has_letters(text: str) -> bool:
    return bool(re.search(r"[^\W\d_]", PLACEHOLDER.sub("", text)))


def collect_texts(config: dict[str, Any]) -> Set[str]:
    """Returns all texts with letters but for problems. Of labels that differ in numbers, it returns their text."""
    collected = [
        *collect_python_texts(), *collect_javascript_texts(), *collect_schema_texts(), *collect_errors(),
    ]  # fmt: skip
    numbered = {re.sub(r"\d+", "{}", text) for text in collected} | {blank_values(text) for text in collected}
    collected += [text for text in collect_page_texts(config) if re.sub(r"\d+", "{}", text) not in numbered]
    return {text for text in collected if has_letters(text) or PLACEHOLDER.search(text)}
