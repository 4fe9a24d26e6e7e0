"""LoRAs and textual inversions apply only to their own job."""

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

from imagegen.engine.adapters import merge
from imagegen.engine.engine import EngineResult
from imagegen.engine.samplers import create_scheduler
from imagegen.errors import OutOfMemory, UnusableModel
from imagegen.schema.models import AdapterSource
from tests.hub.loras import diffusers_lora, kohya_lora, textual_inversion
from tests.integration.engine_harness import EngineHarness, get_final_image

MAKERS = {"diffusers": diffusers_lora, "kohya": kohya_lora}


def lora(
    bench: EngineHarness, model: str, kind: str = "diffusers", seed: int = 1, weight: float = 0.7
) -> AdapterSource:
    """Returns a LoRA for a model; kohya's has an alpha other than its rank."""
    file = bench.folder / "loras" / f"{model}-{kind}-{seed}.safetensors"
    if not file.exists():
        _, source = bench.model(model)
        MAKERS[kind](source.path, file, seed)
        if kind == "kohya":
            weights = {name: each / 2 if name.endswith("alpha") else each for name, each in load_file(file).items()}
            save_file(weights, file, {"ss_base_model_version": "sd_v1"})
    return bench.loras.get_source(file.stem, weight)


def difference(first: Image.Image, second: Image.Image) -> int:
    """Returns the largest difference of all pixels, in steps of 1/255."""
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
def test_it_does_what_diffusers_does_with_it(harness: EngineHarness, model: str, kind: str) -> None:
    adapters = lora(harness, model, kind)
    ours, without = (
        harness.generate_image(model, [adapters], guidance_scale=3.0),
        harness.generate_image(model, guidance_scale=3.0),
    )
    assert difference(ours, generate_with_diffusers(harness, model, adapters)) <= 1
    assert difference(ours, without) > 8


def generate_with_diffusers(bench: EngineHarness, model: str, adapters: AdapterSource) -> Image.Image:
    """Generates the picture with diffusers' own functions."""
    info, source = bench.model(model)
    pipeline: Any = AutoPipelineForText2Image.from_pretrained(str(source.path), dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = create_scheduler(info.sampler, pipeline.scheduler.config)
    pipeline.load_lora_weights(str(adapters.path.parent), weight_name=adapters.path.name, adapter_name="it")
    pipeline.set_adapters(["it"], [adapters.weight])
    options = {"use_resolution_binning": False} if "sana" in model else {}
    output = pipeline(
        "a red circle",
        width=64,
        height=64,
        num_inference_steps=3,
        # Z-Image adds its modulation, where others multiply.
        guidance_scale=2.0 if "z-image" in model else 3.0,
        generator=torch.Generator().manual_seed(1),
        **options,
    )
    image: Image.Image = output.images[0]
    return image


def test_no_job_sees_the_loras_of_another(harness: EngineHarness) -> None:
    """In any order, each picture equals the one that its job gives alone."""
    first, second = lora(harness, "tiny-sd15", seed=1), lora(harness, "tiny-sd15", seed=2)
    half = first.model_copy(update={"weight": 0.35})
    adapter_lists: list[list[AdapterSource]] = [[], [first], [second], [first, second], [half], [second, first]]
    alone = [harness.generate_image("tiny-sd15", adapters).tobytes() for adapters in adapter_lists]
    assert len(set(alone[:5])) == 5
    order = np.random.default_rng(7).permutation(np.repeat(np.arange(len(adapter_lists)), 3))
    for place in order:
        assert harness.generate_image("tiny-sd15", adapter_lists[place]).tobytes() == alone[place]


def test_weight_0_is_no_lora_to_the_pixel(harness: EngineHarness) -> None:
    without = harness.generate_image("tiny-sd15")
    assert harness.generate_image("tiny-sd15", [lora(harness, "tiny-sd15", weight=0.0)]).tobytes() == without.tobytes()
    harness.generate_image("tiny-sd15", [lora(harness, "tiny-sd15")])
    assert harness.generate_image("tiny-sd15").tobytes() == without.tobytes()


def test_the_receipt_names_each_file_and_weight(harness: EngineHarness) -> None:
    adapters = lora(harness, "tiny-sd15", weight=0.7)
    *_, last = harness.run(harness.make_inputs("tiny-sd15", [adapters]))
    assert isinstance(last, EngineResult)
    (used,) = last.receipts[0].loras
    assert (used.lora, used.weight, used.sha256) == ("tiny-sd15-diffusers-1", 0.7, adapters.sha256)
    assert len(adapters.sha256) == 64


def test_one_that_does_not_fit_is_refused_and_leaves_the_model_as_it_was(harness: EngineHarness) -> None:
    without, adapters = harness.generate_image("tiny-sd15"), lora(harness, "tiny-sd15")
    foreign = lora(harness, "tiny-sd21")
    with pytest.raises(
        UnusableModel, match=r"loras: tiny-sd21-diffusers-1 cannot be used: it is .* where this model is"
    ):
        harness.generate_image("tiny-sd15", [adapters, foreign])
    assert harness.generate_image("tiny-sd15").tobytes() == without.tobytes()


def test_a_tensor_of_another_shape_is_refused(harness: EngineHarness) -> None:
    file = harness.folder / "loras" / "odd.safetensors"
    adapters = lora(harness, "tiny-sd15")
    save_file(load_file(adapters.path) | {"unet.conv_in.diff": torch.zeros(1)}, file)
    with pytest.raises(UnusableModel, match="it is 1 x 1 at unet.conv_in, where this model is 8 x 36"):
        harness.generate_image("tiny-sd15", [harness.loras.get_source("odd")])
    file.unlink()


def test_a_lora_that_is_not_of_low_rank_shares_no_pass_and_changes_its_own_job_alone(harness: EngineHarness) -> None:
    file = harness.folder / "loras" / "kronecker.safetensors"
    low_rank, generator = lora(harness, "tiny-sd15"), torch.Generator().manual_seed(4)
    factors, tensors = load_file(low_rank.path), dict[str, torch.Tensor]()
    for name, down in factors.items():
        if name.endswith("lora_A.weight"):
            layer, inputs = name.removesuffix(".lora_A.weight"), down.shape[1]
            outputs = len(factors[f"{layer}.lora_B.weight"])
            tensors[f"{layer}.lokr_w1"] = torch.randn(2, 2, generator=generator)
            tensors[f"{layer}.lokr_w2"] = torch.randn(outputs // 2, inputs // 2, generator=generator) / inputs**0.5
    save_file(tensors, file)
    kronecker = harness.loras.get_source("kronecker", 0.5)
    jobs = [harness.make_inputs("tiny-sd15", adapters) for adapters in ([kronecker], [low_rank], [])]
    alone = [get_final_image(harness.run(each)) for each in jobs]
    together = [get_final_image(events) for events in harness.run_concurrently(*jobs)]
    assert [difference(*pair) <= 1 for pair in zip(alone, together, strict=True)] == [True] * 3
    assert difference(alone[0], alone[2]) > 8


@pytest.mark.parametrize(
    ("model", "widths"), [("tiny-sd15", {"emb_params": 768}), ("tiny-sdxl", {"clip_l": 24, "clip_g": 40})]
)
def test_an_embedding_takes_effect_at_its_word(harness: EngineHarness, model: str, widths: dict[str, int]) -> None:
    textual_inversion(harness.folder / "embeddings" / f"{model}-word.safetensors", widths)
    word = f"{model}-word"
    known = [harness.embeddings.get_source(word)]
    prompt = f"a red circle, {word.upper()}, on paper"
    unknown = harness.generate_image(model, prompt=prompt)
    assert harness.generate_image(model, known, prompt=prompt).tobytes() != unknown.tobytes()
    assert (
        harness.generate_image(model, known, prompt="a red circle").tobytes() == harness.generate_image(model).tobytes()
    )
    assert harness.generate_image(model, prompt=prompt).tobytes() == unknown.tobytes(), (
        "it is the job's, not the model's"
    )


def test_an_embedding_for_another_width_is_refused(harness: EngineHarness) -> None:
    textual_inversion(harness.folder / "embeddings" / "wide.safetensors", {"emb_params": 1024})
    with pytest.raises(UnusableModel, match="its vectors are 1024 wide, those of this model 768"):
        harness.generate_image("tiny-sd15", [harness.embeddings.get_source("wide")])


def test_stacks_may_change_with_every_job(harness: EngineHarness, tmp_path: Path) -> None:
    """With as many LoRAs as seeds, in turns: the last picture equals the first."""
    loras = [lora(harness, "tiny-sd15", seed=seed) for seed in range(3, 6)]
    clean = harness.generate_image("tiny-sd15").tobytes()
    for adapters, _ in zip(cycle(loras), range(12), strict=False):
        harness.generate_image("tiny-sd15", [adapters], steps=1)
    assert harness.generate_image("tiny-sd15").tobytes() == clean


def test_a_partly_merged_stack_is_unmerged(harness: EngineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an out-of-memory error in the middle, the next attempt gives the right picture."""
    adapters = lora(harness, "tiny-sd15", weight=0.9)
    without, right = harness.generate_image("tiny-sd15"), harness.generate_image("tiny-sd15", [adapters])
    harness.generate_image("tiny-sd15")
    real, calls = merge.add_lora_deltas, iter(range(1000))

    def short(*arguments: Any) -> torch.Tensor:
        if next(calls) == 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(*arguments)

    monkeypatch.setattr(merge, "add_lora_deltas", short)
    with pytest.raises(OutOfMemory):
        harness.generate_image("tiny-sd15", [adapters])
    monkeypatch.undo()
    assert harness.generate_image("tiny-sd15").tobytes() == without.tobytes()
    assert harness.generate_image("tiny-sd15", [adapters]).tobytes() == right.tobytes()


def test_a_file_that_was_replaced_is_another_lora(harness: EngineHarness) -> None:
    file, model = harness.folder / "loras" / "changing.safetensors", harness.model("tiny-sd15")[1]
    pictures = []
    for seed in (1, 2):
        diffusers_lora(model.path, file, seed)
        pictures.append(harness.generate_image("tiny-sd15", [harness.loras.get_source("changing", 0.7)]).tobytes())
    assert pictures == [
        harness.generate_image("tiny-sd15", [lora(harness, "tiny-sd15", seed=seed)]).tobytes() for seed in (1, 2)
    ]
