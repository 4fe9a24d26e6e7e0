"""Prepares texts and pictures for text encoders that can see, without torchvision, which other classes need."""

from __future__ import annotations

from pathlib import Path

from transformers import AutoTokenizer, Qwen2Tokenizer, Qwen2VLProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from imagegen.library.weight_files import read_components

# The classes that PictureProcessor takes the place of. They differ in what they do with videos.
PICTURE_CLASSES = ("Qwen2VLProcessor", "Qwen2_5_VLProcessor", "Qwen3VLProcessor")
# A class that is used for texts alone, so that a tokenizer can do the same.
TEXT_CLASS = "PixtralProcessor"


class PictureProcessor(Qwen2VLProcessor):  # type: ignore[misc] # It has no types.
    """Has no part for videos."""

    def __init__(self, image_processor: object = None, tokenizer: object = None, chat_template: object = None) -> None:
        super().__init__(image_processor, tokenizer, chat_template=chat_template)


def load_picture_processor(folder: Path, tokenizer_folder: Path) -> PictureProcessor:
    """Returns the processor whose files are in `folder`, with the tokenizer of another one or of the same."""
    image_processor = Qwen2VLImageProcessorPil.from_pretrained(folder, local_files_only=True)
    tokenizer = Qwen2Tokenizer.from_pretrained(tokenizer_folder, local_files_only=True)
    return PictureProcessor(image_processor, tokenizer, tokenizer.chat_template)


def load_picture_processors(folder: Path) -> dict[str, object]:
    """Returns a PictureProcessor for each component of a model in diffusers format that needs one, by name."""
    parts = read_components(folder).items()
    return {
        name: load_picture_processor(folder / name, folder / name)
        for name, (_, kind) in parts
        if kind in PICTURE_CLASSES
    }


def load_text_processors(folder: Path) -> dict[str, object]:
    """Returns a tokenizer for each component that is used for texts alone, by name."""
    names = (name for name, (_, kind) in read_components(folder).items() if kind == TEXT_CLASS)
    return {name: AutoTokenizer.from_pretrained(folder / name, local_files_only=True) for name in names}
