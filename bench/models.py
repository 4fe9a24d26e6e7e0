"""`python -m bench.models [MODEL]`: going back to a model in memory, beside loading it again.

Two models take turns. MODEL is one of bench.networks; given none, it has the size of Stable Diffusion 1.5: 2.1 GB in
half precision, and twice as much in memory on a CPU. On a GPU, where `--room` models fit at once, the rest waits in
main memory. Seconds of the median round; each round does all, one after the other.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from diffusers import AutoPipelineForText2Image

from bench.floors import synchronise
from bench.networks import KINDS, source_of
from bench.rivals import machine
from bench.timing import interleaved, keep_model
from imagegen.engine.devices import chosen_device, dtype_for
from imagegen.engine.memory import memory_budget
from imagegen.engine.store import Budget, ModelStore
from imagegen.info import ModelSource


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.models", description=__doc__)
    parser.add_argument("model", nargs="?", default="sd15", choices=KINDS)
    parser.add_argument("--room", type=float, default=1.5, help="how many of them fit on the GPU")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where models are kept from one run to the next")
    arguments = parser.parse_args()
    with TemporaryDirectory() as scratch:
        source = source_of(arguments.model, arguments.folder or Path(scratch))
        report = measured(source, arguments.room, arguments.rounds)
    keep_model("models", machine("auto"), arguments.model, report)


def measured(source: ModelSource, room: float, rounds: int) -> dict[str, object]:
    device = chosen_device("auto")
    dtype = dtype_for(device)
    sources = [source.model_copy(update={"id": name, "name": name}) for name in "ab"]
    size = sum(file.stat().st_size for file in source.path.rglob("*.safetensors"))
    on_device = room * size if device.type == "cuda" else 1e12
    budget = Budget(on_device, max(1e12, memory_budget(None)), "off", separate=device.type == "cuda")
    store = ModelStore(device, dtype, budget)

    def switch() -> None:
        """Each call goes back to the model that was used before the last."""
        sources.reverse()
        with store.using(sources[0]):
            synchronise(device)

    def load() -> None:
        AutoPipelineForText2Image.from_pretrained(source.path, dtype=dtype, use_safetensors=True).to(device)
        synchronise(device)

    for _ in range(2):
        switch()
    seconds = interleaved({"switch": switch, "from_pretrained": load}, rounds)
    return {
        "dtype": str(dtype).removeprefix("torch."),
        "gigabytes": round(size / 1e9, 2),
        "seconds": {name: float(f"{value:.3g}") for name, value in seconds.items()},
        "ratio": float(f"{seconds['switch'] / seconds['from_pretrained']:.1e}"),
        "memory_mb": round(psutil.Process().memory_info().rss / 2**20),
    }


if __name__ == "__main__":
    main()
