"""Text encoders with a few thin layers in their real architectures, each with a tokenizer."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    BertConfig,
    BertModel,
    ByT5Tokenizer,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    Gemma2Config,
    Gemma2Model,
    GemmaConfig,
    GemmaModel,
    GlmConfig,
    GlmModel,
    LlamaConfig,
    LlamaForCausalLM,
    Mistral3Config,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3Config,
    Qwen3VLConfig,
    SmolLM3Config,
    SmolLM3ForCausalLM,
    T5Config,
    T5EncoderModel,
    UMT5Config,
    UMT5EncoderModel,
)

from tests.hub import tokenizers

HEADS = {"num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 32}


def clip(width: int, layers: int = 1, *, projected: bool = False, positions: int = 77) -> tuple[Any, Any]:
    """Returns encoder and tokenizer. `projected` adds a pooled embedding of the same width, as in SDXL and SD 3.

    `positions` is how many tokens the encoder can take.
    """
    tokenizer = tokenizers.clip()
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=32,
        projection_dim=width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=positions,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return tokenizer, spread(CLIPTextModelWithProjection(config) if projected else CLIPTextModel(config))


def t5(width: int) -> tuple[Any, Any]:
    tokenizer = tokenizers.t5()
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=width,
        d_kv=8,
        d_ff=32,
        num_layers=2,
        num_heads=2,
        feed_forward_proj="gated-gelu",
    )
    return tokenizer, spread(T5EncoderModel(config))


def qwen3(model: Any, width: int, layers: int) -> tuple[Any, Any]:
    """Returns encoder and tokenizer. `model` is the class: with or without a head for the next token."""
    tokenizer = tokenizers.qwen()
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=layers,
        head_dim=8,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        **HEADS,
    )
    return tokenizer, spread(model(config))


def qwen2_vision(width: int, *, sees: bool = False) -> tuple[Any, Any]:
    """Returns encoder and tokenizer. `sees`: the tokenizer has the tokens that stand for a picture."""
    tokenizer = tokenizers.qwen_vision() if sees else tokenizers.qwen()
    names = ("vision_start", "vision_end", "image", "video")
    tokens = dict(zip(names, tokenizer.convert_tokens_to_ids(list(tokenizers.VISION_TOKENS)), strict=True))
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": width,
        "num_hidden_layers": 2,
        "max_position_embeddings": 2048,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "rope_parameters": {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 1e6},
        **HEADS,
    }
    vision = {"depth": 1, "hidden_size": 16, "num_heads": 2, "intermediate_size": 16, "out_hidden_size": width}
    ids = {f"{name}_token_id": token for name, token in tokens.items()} if sees else {}
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True, **ids)
    return tokenizer, spread(Qwen2_5_VLForConditionalGeneration(config))


def gemma2(width: int) -> tuple[Any, Any]:
    tokenizer = tokenizers.gemma()
    config = Gemma2Config(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=2,
        head_dim=8,
        query_pre_attn_scalar=8,
        max_position_embeddings=4096,
        **HEADS,
    )
    return tokenizer, spread(Gemma2Model(config))


def umt5(width: int) -> tuple[Any, Any]:
    tokenizer = tokenizers.t5()
    config = UMT5Config(vocab_size=len(tokenizer), d_model=width, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    return tokenizer, spread(UMT5EncoderModel(config))


def byt5(width: int) -> tuple[Any, Any]:
    tokenizer = ByT5Tokenizer()
    config = T5Config(vocab_size=len(tokenizer), d_model=width, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    return tokenizer, spread(T5EncoderModel(config))


def bert(width: int) -> tuple[Any, Any]:
    tokenizer = tokenizers.bert()
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=width, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    return tokenizer, spread(BertModel(config))


def gemma(width: int) -> tuple[Any, Any]:
    return decoder(GemmaModel, GemmaConfig, tokenizers.gemma_with_start(), width, head_dim=8)


def llama(width: int) -> tuple[Any, Any]:
    return decoder(LlamaForCausalLM, LlamaConfig, tokenizers.qwen(), width)


def glm(width: int) -> tuple[Any, Any]:
    return decoder(GlmModel, GlmConfig, tokenizers.gemma_with_start(), width, head_dim=8)


def smol_lm3(width: int) -> tuple[Any, Any]:
    return decoder(SmolLM3ForCausalLM, SmolLM3Config, tokenizers.qwen(), width)


def decoder(model: Any, config: Any, tokenizer: Any, width: int, **options: Any) -> tuple[Any, Any]:
    """Returns a language model of two layers, and its tokenizer."""
    return tokenizer, spread(model(config(**decoder_options(tokenizer, width), **options)))


def decoder_options(tokenizer: Any, width: int) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": width,
        "num_hidden_layers": 2,
        "max_position_embeddings": 4096,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        **HEADS,
    }


def mistral3(model: Any, width: int, layers: int = 2) -> tuple[Any, Any]:
    """Returns encoder and tokenizer. `model` is the class: with or without a head for the next token."""
    tokenizer = tokenizers.qwen_vision()
    text = {"model_type": "mistral", "head_dim": 8, **decoder_options(tokenizer, width), "num_hidden_layers": layers}
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    token = tokenizer.convert_tokens_to_ids("<|image_pad|>")
    config = Mistral3Config(text_config=text, vision_config=vision, image_token_index=token)
    return tokenizer, spread(model(config))


def qwen3_vision(model: Any, width: int, layers: int) -> tuple[Any, Any]:
    """Returns encoder and tokenizer. `model` is the class: with or without a head for the next token."""
    tokenizer = tokenizers.qwen_vision()
    rope = {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 1e6}
    text = decoder_options(tokenizer, width) | {"num_hidden_layers": layers, "head_dim": 8, "rope_parameters": rope}
    vision = {
        "depth": 1,
        "hidden_size": 16,
        "num_heads": 2,
        "intermediate_size": 16,
        "out_hidden_size": width,
        "num_position_embeddings": 16,
        "deepstack_visual_indexes": [0],
    }
    names = ("vision_start", "vision_end", "image", "video")
    tokens = dict(zip(names, tokenizer.convert_tokens_to_ids(list(tokenizers.VISION_TOKENS)), strict=True))
    ids = {f"{name}_token_id": token for name, token in tokens.items()}
    return tokenizer, spread(model(Qwen3VLConfig(text_config=text, vision_config=vision, **ids)))


def spread(model: Any) -> Any:
    """Spreads token embeddings as far apart as in a trained encoder."""
    torch.nn.init.normal_(model.get_input_embeddings().weight)
    return model.eval()
