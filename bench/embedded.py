"""`python -m bench.embedded`: the embedded model on this machine's processor, through the engine.

Seconds of the median picture of 20 steps once warm, beside the plain diffusers call and the fast model in the same run;
seconds to load it; milliseconds of a preview; the most memory that this process took.
"""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Callable

import torch
from diffusers import AutoPipelineForText2Image

from bench.timing import interleaved, keep, processors
from imagegen.engine.engine import Control, Engine, Finished, Work
from imagegen.engine.previews import preview, projection_for
from imagegen.library.library import Library
from imagegen.schema import GenerationRequest
from imagegen.settings import Settings
from imagegen.validation import resolved

PROMPT = "a sailing boat on a lake at sunset, watercolor"


def main() -> None:
    engine, library = Engine("cpu"), Library(Settings())
    model = library.models.get("embedded")
    assert model.source is not None
    source = model.source
    plain = AutoPipelineForText2Image.from_pretrained(source.path, dtype=torch.float32)
    plain.set_progress_bar_config(disable=True)

    def theirs() -> None:
        plain(PROMPT, num_inference_steps=20, guidance_scale=model.info.guidance_scale, generator=torch.Generator())

    began = time.perf_counter()
    engine.warm(source)
    loading = time.perf_counter() - began
    seconds = interleaved(
        {
            "ours": painter(engine, library, "embedded"),
            "plain diffusers": theirs,
            "ours, embedded-fast, 4 steps": painter(engine, library, "embedded-fast"),
        }
    )
    projection = projection_for(source.path, source.pipeline, 4)
    assert projection is not None
    latents = torch.randn(1, 4, model.info.height // 8, model.info.width // 8)
    (preview_seconds,) = interleaved({"preview": lambda: preview(latents, projection)}, rounds=200).values()
    report = {
        "torch": torch.__version__,
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "seconds to load": round(loading, 3),
        "ratio to plain diffusers": round(seconds["ours"] / seconds["plain diffusers"], 3),
        "preview_ms": round(preview_seconds * 1000, 3),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    keep("embedded", processors(), report)


def painter(engine: Engine, library: Library, name: str) -> Callable[[], None]:
    """Paints one picture by a model of the catalogue, as it does by itself."""
    model = library.models.get(name)
    assert model.source is not None
    request = resolved(GenerationRequest(prompt=PROMPT), model.info, seed=1)
    worn = [library.adapters["lora"].source(use.lora, use.weight) for use in request.loras]
    work = Work(request, model.source, worn)

    def paint() -> None:
        *_, last = engine.generate(work, Control(threading.Event(), threading.Event()))
        assert isinstance(last, Finished)

    return paint


if __name__ == "__main__":
    main()
