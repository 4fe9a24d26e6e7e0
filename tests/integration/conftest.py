"""Real inference, on the embedded model; where that is missing, on one of the same kind with random weights."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderTiny, DPMSolverMultistepScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from imagegen.engine.engine import Control, Engine, Finished
from imagegen.schema import GenerationRequest, ModelInfo

EMBEDDED = Path(__file__).parents[2] / "assets" / "models" / "embedded"
INFO = ModelInfo(
    id="embedded",
    name="Embedded",
    folder="embedded",
    width=128,
    height=128,
    max_side=512,
    steps=20,
    guidance_scale=4.0,
    sampler="DPM++ 2M",
)
# A request names the picture that it starts from by its hash. The engine gets the picture itself beside it.
ANY_IMAGE = "0" * 64
Generate = Callable[..., Finished]


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if (EMBEDDED / "model_index.json").is_file():
        return EMBEDDED
    folder = tmp_path_factory.mktemp("models") / "random"
    random_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def engine(model_folder: Path) -> Engine:
    return Engine(INFO, model_folder, "cpu")


@pytest.fixture(scope="session")
def generate(engine: Engine) -> Generate:
    """Runs a request, given by what is special about it, to its end."""

    def finished(start: Image.Image | None = None, **fields: Any) -> Finished:
        if start is not None:
            fields["init_image"] = ANY_IMAGE
        *_, last = engine.generate(request(**fields), start, unwatched())
        assert isinstance(last, Finished)
        return last

    return finished


def request(**fields: Any) -> GenerationRequest:
    """A whole request, small and quick, but for the fields given."""
    usual = {"prompt": "a red circle on a blue background", "width": 64, "height": 64, "steps": 3, "seed": 1}
    return GenerationRequest(**{**usual, "guidance_scale": 4.0, "sampler": "DPM++ 2M", **fields})


def unwatched() -> Control:
    return Control(cancelled=threading.Event(), previews=threading.Event())


def random_pipeline() -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tokenizer = letters_tokenizer()
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=3,
                num_attention_heads=4,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
        unet = UNet2DConditionModel(
            sample_size=16,
            block_out_channels=(32, 64),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=32,
            attention_head_dim=4,
            norm_num_groups=16,
            addition_embed_type="text",
            addition_embed_type_num_heads=4,
        )
        widths = {"encoder_block_out_channels": (8,) * 4, "decoder_block_out_channels": (8,) * 4}
        vae = AutoencoderTiny(**widths, num_encoder_blocks=(1,) * 4, num_decoder_blocks=(1,) * 4)
    scheduler = DPMSolverMultistepScheduler(
        beta_start=0.00085,
        beta_end=0.018,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        steps_offset=1,
    )
    return StableDiffusionPipeline(
        vae, text_encoder, tokenizer, unet, scheduler, None, None, requires_safety_checker=False
    )


def letters_tokenizer() -> CLIPTokenizer:
    """Of CLIP's kind, with a token for every byte and none for words."""
    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={token: index for index, token in enumerate(tokens)}, merges=[], model_max_length=77)
