"""`python -m bench.embedded`: the embedded model on this machine's processor, through the engine.

Measures seconds of the median picture of 20 steps once warm, compared with the stock pipeline and the fast model in
the same run; seconds to load the model; milliseconds per preview; and the peak memory of this process.
"""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Callable

import torch
from diffusers import AutoPipelineForText2Image

from bench.timing import describe_processors, save_result, time_interleaved
from imagegen.engine.engine import Engine, EngineResult, JobControl, JobInputs
from imagegen.engine.families.registry import get_model_family
from imagegen.engine.previews.projection import find_projection, render_latent_preview
from imagegen.library.library import Library
from imagegen.schema.request import GenerationRequest
from imagegen.schema.validation import fill_in_defaults
from imagegen.settings import Settings

PROMPT = "a sailing boat on a lake at sunset, watercolor"


def main() -> None:
    engine, library = Engine("cpu"), Library(Settings())
    model = library.models.get("embedded")
    assert model.source is not None
    source = model.source
    plain = AutoPipelineForText2Image.from_pretrained(source.path, dtype=torch.float32)
    plain.set_progress_bar_config(disable=True)

    def run_diffusers() -> None:
        plain(PROMPT, num_inference_steps=20, guidance_scale=model.info.guidance_scale, generator=torch.Generator())

    began = time.perf_counter()
    engine.warm(source)
    loading = time.perf_counter() - began
    seconds = time_interleaved(
        {
            "ours": prepare_generation(engine, library, "embedded"),
            "plain diffusers": run_diffusers,
            "ours, embedded-fast, 4 steps": prepare_generation(engine, library, "embedded-fast"),
        }
    )
    projection = find_projection(source.path, get_model_family(source.pipeline).preview_projection, 4)
    assert projection is not None
    latents = torch.randn(1, 4, model.info.height // 8, model.info.width // 8)
    (preview_seconds,) = time_interleaved(
        {"preview": lambda: render_latent_preview(latents, projection)}, rounds=200
    ).values()
    report = {
        "torch": torch.__version__,
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "seconds to load": round(loading, 3),
        "ratio to plain diffusers": round(seconds["ours"] / seconds["plain diffusers"], 3),
        "preview_ms": round(preview_seconds * 1000, 3),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    save_result("embedded", describe_processors(), report)


def prepare_generation(engine: Engine, library: Library, name: str) -> Callable[[], None]:
    """Returns a function that generates a picture with the model's default settings."""
    model = library.models.get(name)
    assert model.source is not None
    request = fill_in_defaults(GenerationRequest(prompt=PROMPT), model.info, seed=1)
    loras = [library.adapters["lora"].get_source(use.lora, use.weight) for use in request.loras]
    inputs = JobInputs(request, model.source, loras)

    def generate() -> None:
        *_, last = engine.generate(inputs, JobControl(threading.Event(), threading.Event()))
        assert isinstance(last, EngineResult)

    return generate


if __name__ == "__main__":
    main()
