"""`python -m bench.models [MODEL]`: switching to a model in memory, compared with loading it again.

Two models take turns. MODEL is one of bench.create_models; the default has the size of Stable Diffusion 1.5: 2.1 GB in
half precision, and twice as much in memory on a CPU. On a GPU, `--room` models fit at once, and the rest waits in main
memory. Measures seconds of the median round; each round runs both in turns.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from diffusers import AutoPipelineForText2Image

from bench.contender_process import describe_machine
from bench.create_models import NETWORKS, get_source
from bench.roofline import synchronise
from bench.timing import save_model_result, time_interleaved
from imagegen.engine.devices import choose_device, choose_dtype
from imagegen.engine.models.budget import MemoryBudget, compute_memory_budget
from imagegen.engine.models.network_cache import NetworkCache
from imagegen.engine.models.store import ModelStore
from imagegen.schema.models import ModelSource


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.models", description=__doc__)
    parser.add_argument("model", nargs="?", default="sd15", choices=NETWORKS)
    parser.add_argument("--room", type=float, default=1.5, help="how many models fit on the GPU")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="folder in which models are kept between runs")
    arguments = parser.parse_args()
    with TemporaryDirectory() as scratch:
        source = get_source(arguments.model, arguments.folder or Path(scratch))
        report = measure_model_switching(source, arguments.room, arguments.rounds)
    save_model_result("models", describe_machine("auto"), arguments.model, report)


def measure_model_switching(source: ModelSource, room: float, rounds: int) -> dict[str, object]:
    device = choose_device("auto")
    dtype = choose_dtype(device)
    sources = [source.model_copy(update={"id": name, "name": name}) for name in "ab"]
    size = sum(file.stat().st_size for file in source.path.rglob("*.safetensors"))
    on_device = room * size if device.type == "cuda" else 1e12
    budget = MemoryBudget(
        on_device, max(1e12, compute_memory_budget(None)), "off", has_device_memory=device.type == "cuda"
    )
    store = ModelStore(device, dtype, budget, NetworkCache(device, dtype, {}))

    def switch() -> None:
        """Switches to the model that was used before the last."""
        sources.reverse()
        with store.use(sources[0]):
            synchronise(device)

    def load() -> None:
        AutoPipelineForText2Image.from_pretrained(source.path, dtype=dtype, use_safetensors=True).to(device)
        synchronise(device)

    for _ in range(2):
        switch()
    seconds = time_interleaved({"switch": switch, "from_pretrained": load}, rounds)
    return {
        "dtype": str(dtype).removeprefix("torch."),
        "gigabytes": round(size / 1e9, 2),
        "seconds": {name: float(f"{value:.3g}") for name, value in seconds.items()},
        "ratio": float(f"{seconds['switch'] / seconds['from_pretrained']:.1e}"),
        "memory_mb": round(psutil.Process().memory_info().rss / 2**20),
    }


if __name__ == "__main__":
    main()
