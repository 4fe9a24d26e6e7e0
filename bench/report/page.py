"""The page's text."""

from __future__ import annotations

from bench.report import of_models, of_studio
from bench.report.tables import Results

HEAD = """\
# What is fast, and how fast

This page is made by `python -m bench.report` from the results in `bench/results`. Each bench is one command that writes
one of them, with the machine and the command.

Models are compared in one command for all contenders, each in a process of its own, that take turns: what disturbs
one disturbs all. First it is seen that their pictures agree. Contenders are:

- **ours**: the engine, as the studio runs it;
- **plain**: the stock pipeline of diffusers, called once for each picture;
- **by hand**: the same with all that the documentation of diffusers advises: fused projections, channels last, and on a
  GPU compiled networks.

Models that are called thin have the graph of the whole model, operation for operation, with few channels and random
weights. On a processor they show what a GPU shows of the whole one: the time goes into starting operations."""

GPU = """\
## With a GPU

Whole models by their true configurations, with random weights in half precision. `bash bench/gpu.sh` does all of it
within ten minutes on a machine that has Python with torch."""
OF_MODELS = (
    of_models.single,
    of_models.throughput,
    of_models.waiting,
    of_models.switch,
    of_models.loras,
    of_models.memory,
)
OF_STUDIO = (of_studio.start, of_studio.doors, of_studio.images, of_studio.embedded, of_studio.step_cache)


def page(found: Results, on_gpu: Results) -> str:
    parts = [HEAD, "## Without a GPU", *(part(found, "") for part in OF_MODELS), "## The studio"]
    parts += [part(found) for part in OF_STUDIO]
    parts.append(GPU)
    if on_gpu:
        parts += [part(on_gpu, "gpu-") for part in (*OF_MODELS, of_models.low_memory)]
    else:
        parts.append("There are no results yet.")
    return "\n\n".join(parts) + "\n"
