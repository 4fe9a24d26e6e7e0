"""Sections on models, on a processor or on a GPU. `prefix` is part of the names of the GPU's plots."""

from __future__ import annotations

from bench.report.tables import (
    MODELS,
    Result,
    Results,
    format_missing,
    format_number,
    format_provenance,
    format_ratio,
    models,
    plot,
    section,
    table,
    wrap_text,
)

SHARES = ("p50", "p95", "p99")
MODES = {
    "off": "whole model",
    "encoders": "text encoders and denoiser in turns",
    "offload": "one network at a time",
    "layers": "one layer at a time",
}


def single(results: Results, prefix: str) -> str:
    words = (
        "One picture for one user. The floor is the time that the device would need for the counted operations of the"
        " picture at its peak rate. Plain is the stock pipeline of diffusers; by hand is the same pipeline with all"
        " optimizations that its documentation recommends. Seconds of the median picture, after comparing the pictures."
    )
    head = ["model", "contender", "seconds", "of the floor", "speed of ours", "agrees with plain, dB"]
    rows = [
        [
            f"{MODELS[model]}, {row['side']} px, {row['steps']} steps, {row['dtype']}",
            name,
            format_number(seconds),
            format_ratio(row["ratio to the floor"][name]),
            format_ratio(row[f"times as fast as {name}"]) if name != "ours" else "",
            format_number(row["agreement with plain in dB"].get(name)),
        ]
        for model, row in models(results, "single").items()
        for name, seconds in row["seconds"].items()
    ]
    return render_section("A picture alone", "single", results, prefix, words, table(head, rows))


def throughput(results: Results, prefix: str) -> str:
    words = (
        "Each user requests the next picture when their last is finished. Our jobs share every step; the others"
        " generate one picture after another. The share of the floor is relative to the pictures that the device could"
        " generate at its peak rate."
    )
    parts = [
        part for model, row in models(results, "throughput").items() for part in render_throughput(model, row, prefix)
    ]
    return render_section("Many users", "throughput", results, prefix, words, *parts)


def render_throughput(model: str, row: Result, prefix: str) -> list[str]:
    others = [name.removeprefix("times ") for name in next(iter(row["users"].values())) if name.startswith("times ")]
    head = ["users", *(f"{name}, pictures/s" for name in ("ours", *others)), *(f"ours to {name}" for name in others)]
    rows = [
        [
            users,
            *(format_number(each["pictures a second"][name]) for name in ("ours", *others)),
            *(format_ratio(each[f"times {name}"]) for name in others),
            format_number(each["share of the floor"] * 100) + " %",
            format_number(each["passes a step"]),
            format_number(each["seconds to the first preview"].get("p50")),
        ]
        for users, each in row["users"].items()
    ]
    agree = f"A picture from a batch agrees with the same picture alone to {format_number(row[BATCHED_AGREEMENT])} dB."
    title = f"With **{MODELS[model]}**, {row['side']} px, {row['steps']} steps, {row['dtype']}. {agree}"
    picture = plot(f"throughput-{prefix}{model}", f"pictures a second against users, {MODELS[model]}")
    return [
        wrap_text(title),
        picture,
        table([*head, "of the floor", "passes a step", "first preview, s"], rows),
        *render_open_loop(row),
    ]


BATCHED_AGREEMENT = "agreement of batched with alone in dB"
OPEN_LOOP = "random arrivals, by share of our capacity"


def render_open_loop(row: Result) -> list[str]:
    if not row[OPEN_LOOP]:
        return []
    words = (
        "Random arrivals: requests of three sizes and 10 to 50 steps arrive at random times, at a share of our rate"
        " with the most users, and every fifth is cancelled. Seconds of the median, and of the slowest in 20 and in"
        " 100."
    )
    head = ["requested pictures", "contender", *(f"picture, {share}" for share in SHARES)]
    rows = [
        [
            f"{load}, {format_number(each['pictures a second requested'])} a second",
            name,
            *(format_number(each[name]["seconds to the picture"].get(share)) for share in SHARES),
            *(format_number(each[name]["seconds to the first step"].get(share)) for share in SHARES),
            format_number(each[name]["passes a step"]),
        ]
        for load, each in row[OPEN_LOOP].items()
        for name in each
        if name != "pictures a second requested"
    ]
    return [wrap_text(words), table([*head, *(f"first step, {share}" for share in SHARES), "passes a step"], rows)]


def waiting(results: Results, prefix: str) -> str:
    words = (
        "The device is busy with half-finished pictures when one more user sends a request. Seconds until their first"
        " step, first preview and picture, and how many steps the others made until then. Plain generates one picture"
        " after another, and has no previews."
    )
    head = ["model", "contender", "first step", "first preview", "picture", "steps of another", "of all others"]
    rows = [
        [
            f"{MODELS[model]}, {row['others']} others, {row['steps']} steps",
            name,
            *(format_number(each.get(moment)) for moment in ("first step", "first preview", "picture")),
            format_number(each["most steps of another"]),
            format_number(each["steps of all others"]),
        ]
        for model, row in models(results, "waiting").items()
        for name, each in row["newcomer"].items()
    ]
    picture = plot(f"waiting-{prefix}".rstrip("-"), "how long a newcomer waits")
    return render_section("A newcomer's wait", "waiting", results, prefix, words, picture, table(head, rows))


def switch(results: Results, prefix: str) -> str:
    words = (
        "Two models take turns: switching to one that is in memory, compared with loading it again with"
        " `from_pretrained`. One and a half of them fit on the GPU, so that the rest comes from main memory."
    )
    head = ["model", "GB", "switch, s", "from_pretrained, s", "ratio"]
    rows = [
        [
            MODELS[model],
            format_number(row["gigabytes"]),
            format_number(row["seconds"]["switch"]),
            format_number(row["seconds"]["from_pretrained"]),
            f"{row['ratio']:.2g}",
        ]
        for model, row in models(results, "models").items()
    ]
    return render_section("Switching models", "models", results, prefix, words, table(head, rows))


def loras(results: Results, prefix: str) -> str:
    words = (
        "Merging and unmerging a LoRA for all 722 layers of Stable Diffusion XL's denoiser, compared with diffusers and"
        " PEFT. A swap ends with the first output of the network."
    )
    names = list(dict.fromkeys(name for row in models(results, "loras").values() for name in row["seconds"]))
    rows = [
        [name, *(format_number(row["seconds"].get(name)) for row in models(results, "loras").values())]
        for name in names
    ]
    differences = [
        f"The outputs of {MODELS[model]} with either differ by {row[DIFFERENCE]:.1g} of the largest."
        for model, row in models(results, "loras").items()
    ]
    head = ["seconds", *(MODELS[model] for model in models(results, "loras"))]
    return render_section("Switching LoRAs", "loras", results, prefix, words, table(head, rows), " ".join(differences))


DIFFERENCE = "largest difference of the networks' outputs, relative"


def memory(results: Results, prefix: str) -> str:
    words = (
        "Memory of the process that generates pictures, in MiB: resident without and with its model, the peak with"
        " several pictures at a time, and after each ten further pictures, which should not grow."
    )
    head = ["model", "contender", "no model", "with it", "peak, by pictures at a time", "after each ten further"]
    on_gpu = any("on the GPU" in name for _, _, row in list_memory_rows(results) for name in row)
    rows = [
        [
            MODELS[model],
            name,
            format_number(row["without a model"]),
            format_number(row["with the model"]),
            format_by_users(row["at most, so many at a time"]),
            ", ".join(map(format_number, row["after each ten further pictures"])),
            *([format_by_users(row["on the GPU at most, so many at a time"])] if on_gpu else []),
        ]
        for model, name, row in list_memory_rows(results)
    ]
    head += ["peak on the GPU, by pictures at a time"] if on_gpu else []
    return render_section("Memory", "memory", results, prefix, words, table(head, rows))


def list_memory_rows(results: Results) -> list[tuple[str, str, Result]]:
    return [
        (model, name, row)
        for model, each in models(results, "memory").items()
        for name, row in each["contenders"].items()
    ]


def format_by_users(by_users: Result) -> str:
    return ", ".join(f"{users}: {format_number(value)}" for users, value in by_users.items())


def low_memory(results: Results, prefix: str) -> str:
    words = "Each offload mode for a GPU that is too small for a model, compared with the whole model on it."
    head = ["model", "on the GPU", "seconds", "peak, MiB", "largest difference, of 255"]
    rows = [
        [
            MODELS[model],
            MODES[mode],
            format_number(row_of_mode["seconds"]),
            format_number(row_of_mode["vram_peak_mb"]),
            format_number(row_of_mode["largest difference"]),
        ]
        for model, row in models(results, "low_memory").items()
        for mode, row_of_mode in row["modes"].items()
    ]
    return render_section("A small GPU", "low_memory", results, prefix, words, table(head, rows))


def render_section(title: str, bench: str, results: Results, prefix: str, words: str, *parts: str) -> str:
    """Returns a section; the text only in the first of the two sections with the same bench."""
    heading, intro = (f"### {title}, on a GPU", "") if prefix and bench != "low_memory" else (f"### {title}", words)
    if not models(results, bench):
        return section(heading, intro, format_missing(bench))
    return section(heading, intro, *parts, format_provenance(results[bench]))
