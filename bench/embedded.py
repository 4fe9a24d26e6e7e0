"""`python -m bench.embedded`: the embedded model on this machine's processor, through the engine.

Seconds of the median picture of 20 steps once warm, beside the plain diffusers call in the same run; milliseconds of a
preview; the most memory that this process took.
"""

from __future__ import annotations

import resource
import threading

import torch
from diffusers import AutoPipelineForText2Image

from bench.networks import embedded
from bench.timing import interleaved, keep, processors
from imagegen.engine.engine import Control, Engine, Finished, Work
from imagegen.engine.previews import preview, projection_for
from imagegen.schema import GenerationRequest
from imagegen.validation import resolved

PROMPT = "a sailing boat on a lake at sunset, watercolor"


def main() -> None:
    model = embedded()
    assert model.source is not None
    engine, source = Engine("cpu"), model.source
    plain = AutoPipelineForText2Image.from_pretrained(source.path, dtype=torch.float32)
    plain.set_progress_bar_config(disable=True)
    request = resolved(GenerationRequest(prompt=PROMPT, steps=20), model.info, seed=1)

    def ours() -> None:
        *_, last = engine.generate(Work(request, source), Control(threading.Event(), threading.Event()))
        assert isinstance(last, Finished)

    def theirs() -> None:
        plain(PROMPT, num_inference_steps=20, guidance_scale=model.info.guidance_scale, generator=torch.Generator())

    seconds = interleaved({"ours": ours, "plain diffusers": theirs})
    projection = projection_for(source.path, source.pipeline, 4)
    assert projection is not None
    latents = torch.randn(1, 4, model.info.height // 8, model.info.width // 8)
    (preview_seconds,) = interleaved({"preview": lambda: preview(latents, projection)}, rounds=200).values()
    report = {
        "torch": torch.__version__,
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "ratio to plain diffusers": round(seconds["ours"] / seconds["plain diffusers"], 3),
        "preview_ms": round(preview_seconds * 1000, 3),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    keep("embedded", processors(), report)


if __name__ == "__main__":
    main()
