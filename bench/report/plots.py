"""The plots of the page. Equal results give identical files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report.tables import MODELS, Result, Results, models

COLORS = {"ours": "#cf3a2b", "plain": "#6b7280", "by hand": "#2f6f9f"}
STYLE: Any = {
    "svg.hashsalt": "bench",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "figure.facecolor": "white",
}
MIDDLE = "made up, 1024x1024"
MOMENTS = ("first step", "first preview", "picture")


def draw(results: Results, gpu_results: Results, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.svg"):
        old.unlink()
    with mpl.rc_context(STYLE):
        for name, figure in figures(results, gpu_results):
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None})


def figures(results: Results, gpu_results: Results) -> Iterator[tuple[str, Figure]]:
    for suffix, results_here in (("", results), ("-gpu", gpu_results)):
        for model, row in models(results_here, "throughput").items():
            yield f"throughput{suffix}-{model}", throughput(MODELS[model], row)
        if models(results_here, "waiting"):
            yield f"waiting{suffix}", waiting(models(results_here, "waiting"))
    if "images" in results:
        yield "images", images(results["images"])
    if "doors" in results:
        yield "doors", doors(results["doors"])


def throughput(title: str, row: Result) -> Figure:
    figure, axes = sheet(5.5, 3)
    users = list(row["users"])
    for name in next(iter(row["users"].values()))["pictures a second"]:
        rates = [row["users"][each]["pictures a second"][name] for each in users]
        axes.plot(users, rates, marker="o", color=COLORS[name], label=name)
    axes.set(xlabel="users", ylabel="pictures a second", title=title, ylim=(0, None))
    axes.grid(axis="y", alpha=0.3)
    axes.legend(frameon=False)
    return figure


def waiting(rows: Any) -> Figure:
    figure, axes = sheet(6, 1 + 0.9 * len(rows))
    bars = [
        (f"{MODELS[model]}: {moment}", {name: each.get(moment) for name, each in row["newcomer"].items()})
        for model, row in rows.items()
        for moment in MOMENTS
    ]
    for number, (_, seconds) in enumerate(bars):
        for shift, (name, value) in zip((-0.2, 0.2), seconds.items(), strict=True):
            label = name if number == 0 else None
            axes.barh(number + shift, value or 0, 0.38, color=COLORS[name], label=label)
    axes.set_yticks(range(len(bars)), [label for label, _ in bars])
    axes.set(xscale="log", xlabel="seconds that a newcomer waits")
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper right", ncols=2, frameon=False)
    return figure


def images(result: Result) -> Figure:
    figure, axes = sheet(6, 3.5)
    kinds = {
        "Pillow": "#6b7280",
        "numpy": "#2f6f9f",
        "imagegen.media.png": "#cf3a2b",
        "WEBP": "#b8862b",
        "JPEG": "#5b8f4e",
    }
    encoders = result["pictures"][MIDDLE]
    for kind, color in kinds.items():
        points = [(row["ms"], row["KiB"]) for encoder, row in encoders.items() if encoder.startswith(kind)]
        marker_size = 60 if kind == "imagegen.media.png" else 18
        axes.scatter([ms for ms, _ in points], [size for _, size in points], s=marker_size, color=color, label=kind)
    axes.set(xscale="log", xlabel="milliseconds", ylabel="KiB", title=MIDDLE, ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


def doors(result: Result) -> Figure:
    figure, axes = sheet(6, 3)
    calls = result["one call"]
    for shift, color, name in ((-0.2, "#cf3a2b", "ms"), (0.2, "#6b7280", "server's processor ms")):
        positions = [number + shift for number in range(len(calls))]
        label = {"ms": "whole call"}.get(name, "server's processor")
        axes.barh(positions, [row[name] for row in calls.values()], 0.38, color=color, label=label)
    axes.set_yticks(range(len(calls)), list(calls))
    axes.set(xlabel="milliseconds a call")
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.legend(frameon=False)
    return figure


def sheet(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()
