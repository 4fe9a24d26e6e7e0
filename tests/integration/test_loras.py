"""LoRAs and textual inversions: each job has its own, and leaves no trace."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoPipelineForText2Image
from PIL import Image
from safetensors.torch import load_file, save_file

from imagegen.engine import wearing
from imagegen.engine.engine import Finished
from imagegen.engine.samplers import scheduler_for
from imagegen.errors import OutOfMemory, UnusableModel
from imagegen.info import AdapterSource
from tests.hub.loras import diffusers_lora, kohya_lora, textual_inversion
from tests.integration.tiny import Bench

MAKERS = {"diffusers": diffusers_lora, "kohya": kohya_lora}


def lora(bench: Bench, model: str, kind: str = "diffusers", seed: int = 1, weight: float = 0.7) -> AdapterSource:
    """A LoRA for a model; kohya's with an alpha that is not its rank."""
    file = bench.folder / "loras" / f"{model}-{kind}-{seed}.safetensors"
    if not file.exists():
        _, source = bench.model(model)
        MAKERS[kind](source.path, file, seed)
        if kind == "kohya":
            weights = {name: each / 2 if name.endswith("alpha") else each for name, each in load_file(file).items()}
            save_file(weights, file, {"ss_base_model_version": "sd_v1"})
    return bench.loras.source(file.stem, weight)


def difference(first: Image.Image, second: Image.Image) -> int:
    """The largest of all pixels, in steps of 1/255."""
    return int(np.abs(np.asarray(first, np.int16) - np.asarray(second, np.int16)).max())


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("tiny-sd15", "diffusers"),
        ("tiny-sd15", "kohya"),
        ("tiny-sdxl", "diffusers"),
        ("tiny-sdxl", "kohya"),
        ("tiny-flux-dev", "diffusers"),
        ("tiny-flux-dev", "kohya"),
        ("tiny-sd3", "diffusers"),
        ("tiny-z-image", "diffusers"),
        ("tiny-sana", "diffusers"),
    ],
)
def test_it_does_what_diffusers_does_with_it(bench: Bench, model: str, kind: str) -> None:
    worn = lora(bench, model, kind)
    ours, without = bench.picture(model, [worn], guidance_scale=3.0), bench.picture(model, guidance_scale=3.0)
    assert difference(ours, theirs(bench, model, worn)) <= 1
    assert difference(ours, without) > 8


def theirs(bench: Bench, model: str, worn: AdapterSource) -> Image.Image:
    """The picture by diffusers' own means."""
    info, source = bench.model(model)
    pipeline: Any = AutoPipelineForText2Image.from_pretrained(str(source.path), dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = scheduler_for(info.sampler, pipeline.scheduler.config)
    pipeline.load_lora_weights(str(worn.path.parent), weight_name=worn.path.name, adapter_name="it")
    pipeline.set_adapters(["it"], [worn.weight])
    options = {"use_resolution_binning": False} if "sana" in model else {}
    output = pipeline(
        "a red circle",
        width=64,
        height=64,
        num_inference_steps=3,
        # Z-Image adds what others multiply by.
        guidance_scale=2.0 if "z-image" in model else 3.0,
        generator=torch.Generator().manual_seed(1),
        **options,
    )
    image: Image.Image = output.images[0]
    return image


def test_no_job_sees_the_loras_of_another(bench: Bench) -> None:
    """In any order: each picture is the one that its job alone would have made."""
    first, second = lora(bench, "tiny-sd15", seed=1), lora(bench, "tiny-sd15", seed=2)
    half = first.model_copy(update={"weight": 0.35})
    stacks: list[list[AdapterSource]] = [[], [first], [second], [first, second], [half], [second, first]]
    alone = [bench.picture("tiny-sd15", stack).tobytes() for stack in stacks]
    assert len(set(alone[:5])) == 5
    order = np.random.default_rng(7).permutation(np.repeat(np.arange(len(stacks)), 3))
    for place in order:
        assert bench.picture("tiny-sd15", stacks[place]).tobytes() == alone[place]


def test_weight_0_is_no_lora_to_the_pixel(bench: Bench) -> None:
    without = bench.picture("tiny-sd15")
    assert bench.picture("tiny-sd15", [lora(bench, "tiny-sd15", weight=0.0)]).tobytes() == without.tobytes()
    bench.picture("tiny-sd15", [lora(bench, "tiny-sd15")])
    assert bench.picture("tiny-sd15").tobytes() == without.tobytes()


def test_the_receipt_names_each_file_and_weight(bench: Bench) -> None:
    worn = lora(bench, "tiny-sd15", weight=0.7)
    *_, last = bench.events(bench.work("tiny-sd15", [worn]))
    assert isinstance(last, Finished)
    (used,) = last.receipts[0].loras
    assert (used.lora, used.weight, used.sha256) == ("tiny-sd15-diffusers-1", 0.7, worn.sha256)
    assert len(worn.sha256) == 64


def test_one_that_does_not_fit_is_refused_and_leaves_the_model_as_it_was(bench: Bench) -> None:
    without, worn = bench.picture("tiny-sd15"), lora(bench, "tiny-sd15")
    foreign = lora(bench, "tiny-sd21")
    with pytest.raises(
        UnusableModel, match=r"loras: tiny-sd21-diffusers-1 cannot be used: it is .* where this model is"
    ):
        bench.picture("tiny-sd15", [worn, foreign])
    assert bench.picture("tiny-sd15").tobytes() == without.tobytes()


def test_what_is_no_plain_lora_is_refused(bench: Bench) -> None:
    file = bench.folder / "loras" / "odd.safetensors"
    worn = lora(bench, "tiny-sd15")
    save_file(load_file(worn.path) | {"unet.conv_in.diff": torch.zeros(1)}, file)
    with pytest.raises(UnusableModel, match="it changes unet.conv_in.diff, which is no LoRA of a layer"):
        bench.picture("tiny-sd15", [bench.loras.source("odd")])
    save_file({"lora_unet_x.lora_down.weight": torch.zeros(1, 1), "lora_unet_x.dora_scale": torch.zeros(1)}, file)
    with pytest.raises(UnusableModel, match="it is a DoRA"):
        bench.loras.source("odd")
    file.unlink()


@pytest.mark.parametrize(
    ("model", "widths"), [("tiny-sd15", {"emb_params": 768}), ("tiny-sdxl", {"clip_l": 24, "clip_g": 40})]
)
def test_an_embedding_is_heard_where_its_word_stands(bench: Bench, model: str, widths: dict[str, int]) -> None:
    textual_inversion(bench.folder / "embeddings" / f"{model}-word.safetensors", widths)
    word = f"{model}-word"
    known = [bench.embeddings.source(word)]
    prompt = f"a red circle, {word}, on paper"
    unknown = bench.picture(model, prompt=prompt)
    assert bench.picture(model, known, prompt=prompt).tobytes() != unknown.tobytes()
    assert bench.picture(model, known, prompt="a red circle").tobytes() == bench.picture(model).tobytes()
    assert bench.picture(model, prompt=prompt).tobytes() == unknown.tobytes(), "it is the job's, not the model's"


def test_an_embedding_for_another_width_is_refused(bench: Bench) -> None:
    textual_inversion(bench.folder / "embeddings" / "wide.safetensors", {"emb_params": 1024})
    with pytest.raises(UnusableModel, match="its vectors are 1024 wide, those of this model 768"):
        bench.picture("tiny-sd15", [bench.embeddings.source("wide")])


def test_stacks_may_change_with_every_job(bench: Bench, tmp_path: Path) -> None:
    """As many LoRAs as there are seeds, in turns: the last picture is as good as the first."""
    loras = [lora(bench, "tiny-sd15", seed=seed) for seed in range(3, 6)]
    clean = bench.picture("tiny-sd15").tobytes()
    for worn, _ in zip(cycle(loras), range(12), strict=False):
        bench.picture("tiny-sd15", [worn], steps=1)
    assert bench.picture("tiny-sd15").tobytes() == clean


def test_a_stack_that_was_put_on_by_halves_is_taken_off(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of memory in the middle: the next try gives the picture that it should."""
    worn = lora(bench, "tiny-sd15", weight=0.9)
    without, right = bench.picture("tiny-sd15"), bench.picture("tiny-sd15", [worn])
    bench.picture("tiny-sd15")
    real, calls = wearing.changed, iter(range(1000))

    def short(*arguments: Any) -> torch.Tensor:
        if next(calls) == 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(*arguments)

    monkeypatch.setattr(wearing, "changed", short)
    with pytest.raises(OutOfMemory):
        bench.picture("tiny-sd15", [worn])
    monkeypatch.undo()
    assert bench.picture("tiny-sd15").tobytes() == without.tobytes()
    assert bench.picture("tiny-sd15", [worn]).tobytes() == right.tobytes()


def test_a_file_that_was_replaced_is_another_lora(bench: Bench) -> None:
    file, model = bench.folder / "loras" / "changing.safetensors", bench.model("tiny-sd15")[1]
    pictures = []
    for seed in (1, 2):
        diffusers_lora(model.path, file, seed)
        pictures.append(bench.picture("tiny-sd15", [bench.loras.source("changing", 0.7)]).tobytes())
    assert pictures == [bench.picture("tiny-sd15", [lora(bench, "tiny-sd15", seed=seed)]).tobytes() for seed in (1, 2)]
