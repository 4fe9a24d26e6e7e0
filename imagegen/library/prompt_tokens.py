"""How many tokens a prompt has for a model. Needs no torch.

The tokenizers are those that the engine takes from transformers. LoRA tags do not count; words of textual inversions
count as plain words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import BPE

from imagegen.errors import TokensUnknown
from imagegen.library.checkpoint_detection import CONFIGS_DIR
from imagegen.library.families import get_family
from imagegen.library.weight_files import read_components
from imagegen.schema.models import ModelSource
from imagegen.schema.prompt_schedule import Pass, resolve_steps
from imagegen.schema.prompt_tags import remove_tags
from imagegen.schema.prompt_weights import CHUNK_TOKENS, PromptLength, TokenGroup, measure_chunks, parse_sections

# A prompt that changes from step to step has the length of its longest text in as many steps.
SHOWN_STEPS = 20
# In order of preference: the last encoder of a pipeline takes the whole prompt. A processor has a tokenizer.
TOKENIZER_NAMES = ("tokenizer_3", "tokenizer_2", "tokenizer", "processor")
CLIP_TOKENIZER_FOLDER = CONFIGS_DIR / "tokenizer"
# A large one takes more than 100 MB.
MAX_LOADED = 2
# Of the classes in transformers 5.23.
CLIP_WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
QWEN_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def measure_prompt(source: ModelSource, prompt: str) -> PromptLength:
    """Returns the length of a prompt for a model on disk. Reads the disk. Raises TokensUnknown."""
    family = get_family(source.pipeline)
    prompt = remove_tags(prompt)
    if family.prompts != "pipeline":
        prompt = max(resolve_steps(prompt, Pass(SHOWN_STEPS)), key=len)
    try:
        tokenizer = load_tokenizer(*find_tokenizer(source.config or source.path))
    except Exception as error:  # tokenizers raises plain Exceptions.
        raise TokensUnknown(source.name) from error

    if family.prompts == "pipeline":
        return PromptLength(tokens=len(tokenizer.encode(prompt).ids), limit=family.tokens)

    def encode(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False).ids

    (comma,) = encode(",")
    sections = [[token for text, _ in section for token in encode(text)] for section in parse_sections(prompt)]
    chunks = [
        length
        for section in sections
        for length in measure_chunks((TokenGroup(is_comma=token == comma) for token in section), CHUNK_TOKENS)
    ]
    return PromptLength(tokens=sum(chunks), limit=len(chunks) * CHUNK_TOKENS, parts=len(chunks))


def find_tokenizer(folder: Path) -> tuple[Path, str]:
    """Returns the folder and the class of the tokenizer that takes the whole prompt.

    `folder` is that of the model. Raises OSError, ValueError and StopIteration for a model without a tokenizer.
    """
    components = read_components(folder)
    name = next(name for name in TOKENIZER_NAMES if name in components)
    kind = components[name][1].removesuffix("Fast")
    is_complete = (folder / name).is_dir()
    return (folder / name if is_complete or kind != "CLIPTokenizer" else CLIP_TOKENIZER_FOLDER), kind


@lru_cache(MAX_LOADED)
def load_tokenizer(folder: Path, kind: str) -> Tokenizer:
    """Returns a tokenizer from its file, or from a vocabulary and merges. Raises an Exception for a broken one."""
    if (folder / "tokenizer.json").is_file():
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer
    return BUILDERS[kind](*BPE.read_file(str(folder / "vocab.json"), str(folder / "merges.txt")))


def build_clip_tokenizer(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> Tokenizer:
    tokenizer = Tokenizer(BPE(vocabulary, merges, end_of_word_suffix="</w>", unk_token="<|endoftext|>"))  # noqa: S106 Not a secret.
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = pre_tokenizers.Split(Regex(CLIP_WORDS), behavior="removed", invert=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    return tokenizer


def build_qwen_tokenizer(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> Tokenizer:
    tokenizer = Tokenizer(BPE(vocabulary, merges))
    tokenizer.normalizer = normalizers.NFC()
    words = pre_tokenizers.Split(Regex(QWEN_WORDS), behavior="isolated")
    bytes_of_words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, bytes_of_words])
    return tokenizer


BUILDERS: Mapping[str, Callable[[dict[str, int], list[tuple[str, str]]], Tokenizer]] = {
    "CLIPTokenizer": build_clip_tokenizer,
    "Qwen2Tokenizer": build_qwen_tokenizer,
}
