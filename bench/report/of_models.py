"""What was measured of models, on a processor or on a GPU. `place` is in the names of the plots of the latter."""

from __future__ import annotations

from bench.report.tables import (
    MODELS,
    Result,
    Results,
    made_by,
    missing,
    models,
    number,
    plot,
    section,
    table,
    times,
    wrapped,
)

SHARES = ("p50", "p95", "p99")
MODES = {
    "off": "whole",
    "encoders": "text encoders and denoiser in turns",
    "offload": "one network at a time",
    "layers": "one layer at a time",
}


def single(found: Results, place: str) -> str:
    words = (
        "One picture, one user. The floor is the time in which the device would do the operations of the picture,"
        " counted, if it did nothing but matrix products. Plain is the stock pipeline of diffusers; by hand is the same"
        " with all that its documentation advises. Seconds of the median picture, once the pictures were seen to agree."
    )
    head = ["model", "contender", "seconds", "of the floor", "ours is as fast", "agrees with plain, dB"]
    rows = [
        [
            f"{MODELS[model]}, {row['side']} px, {row['steps']} steps, {row['dtype']}",
            name,
            number(seconds),
            times(row["ratio to the floor"][name]),
            times(row[f"times as fast as {name}"]) if name != "ours" else "",
            number(row["agreement with plain in dB"].get(name)),
        ]
        for model, row in models(found, "single").items()
        for name, seconds in row["seconds"].items()
    ]
    return shown("A picture alone", "single", found, place, words, table(head, rows))


def throughput(found: Results, place: str) -> str:
    words = (
        "Each of so many users asks for the next picture when he has had his last. Those of ours share every step, the"
        " others are made one after another. The share is that of the pictures that the device could make at the floor."
    )
    parts = [part for model, row in models(found, "throughput").items() for part in of_many(model, row, place)]
    return shown("Many users", "throughput", found, place, words, *parts)


def of_many(model: str, row: Result, place: str) -> list[str]:
    others = [name.removeprefix("times ") for name in next(iter(row["users"].values())) if name.startswith("times ")]
    head = ["users", *(f"{name}, pictures/s" for name in ("ours", *others)), *(f"ours to {name}" for name in others)]
    rows = [
        [
            users,
            *(number(each["pictures a second"][name]) for name in ("ours", *others)),
            *(times(each[f"times {name}"]) for name in others),
            number(each["share of the floor"] * 100) + " %",
            number(each["passes a step"]),
            number(each["seconds to the first preview"].get("p50")),
        ]
        for users, each in row["users"].items()
    ]
    agree = f"A picture made in company agrees with itself alone to {number(row[IN_COMPANY])} dB."
    title = f"With **{MODELS[model]}**, {row['side']} px, {row['steps']} steps, {row['dtype']}. {agree}"
    picture = plot(f"throughput-{place}{model}", f"pictures a second against users, {MODELS[model]}")
    return [
        wrapped(title),
        picture,
        table([*head, "of the floor", "passes a step", "first preview, s"], rows),
        *by_the_clock(row),
    ]


IN_COMPANY = "agreement of one in company with the same alone in dB"
BY_CLOCK = "by the clock, mixed, of what ours can do"


def by_the_clock(row: Result) -> list[str]:
    if not row[BY_CLOCK]:
        return []
    words = (
        "The same by the clock: pictures of three sizes and 10 to 50 steps arrive at random, at a share of what ours"
        " makes with the most users, and every fifth is cancelled. Seconds, of the median and of the slowest in 20 and"
        " in 100."
    )
    head = ["pictures asked for", "contender", *(f"picture, {share}" for share in SHARES)]
    rows = [
        [
            f"{load}, {number(each['pictures a second asked for'])} a second",
            name,
            *(number(each[name]["seconds to the picture"].get(share)) for share in SHARES),
            *(number(each[name]["seconds to the first step"].get(share)) for share in SHARES),
            number(each[name]["passes a step"]),
        ]
        for load, each in row[BY_CLOCK].items()
        for name in each
        if name != "pictures a second asked for"
    ]
    return [wrapped(words), table([*head, *(f"first step, {share}" for share in SHARES), "passes a step"], rows)]


def waiting(found: Results, place: str) -> str:
    words = (
        "The device is busy with the pictures of others, half done, when one more user comes. Seconds until his first"
        " step, his first preview and his picture, and how many steps the others made until his first. Plain makes one"
        " picture after another, and has no previews."
    )
    head = ["model", "contender", "first step", "first preview", "picture", "steps of another", "of all others"]
    rows = [
        [
            f"{MODELS[model]}, {row['others']} others, {row['steps']} steps",
            name,
            *(number(each.get(moment)) for moment in ("first step", "first preview", "picture")),
            number(each["most steps of another"]),
            number(each["steps of all others"]),
        ]
        for model, row in models(found, "waiting").items()
        for name, each in row["newcomer"].items()
    ]
    picture = plot(f"waiting-{place}".rstrip("-"), "how long a newcomer waits")
    return shown("A newcomer's wait", "waiting", found, place, words, picture, table(head, rows))


def switch(found: Results, place: str) -> str:
    words = (
        "Two models take turns: going back to one that is in memory, beside loading it again with `from_pretrained`."
        " On a GPU one and a half of them fit, so that the rest comes from main memory."
    )
    head = ["model", "GB", "switch, s", "from_pretrained, s", "ratio"]
    rows = [
        [
            MODELS[model],
            number(row["gigabytes"]),
            number(row["seconds"]["switch"]),
            number(row["seconds"]["from_pretrained"]),
            f"{row['ratio']:.2g}",
        ]
        for model, row in models(found, "models").items()
    ]
    return shown("Another model", "models", found, place, words, table(head, rows))


def loras(found: Results, place: str) -> str:
    words = (
        "A LoRA for all 722 layers of Stable Diffusion XL's denoiser, put on and taken off, beside diffusers with PEFT."
        " A swap ends with the first answer of the network."
    )
    names = list(dict.fromkeys(name for row in models(found, "loras").values() for name in row["seconds"]))
    rows = [[name, *(number(row["seconds"].get(name)) for row in models(found, "loras").values())] for name in names]
    differences = [
        f"The outputs of {MODELS[model]} with either differ by {row[DIFFERENCE]:.1g} of the largest."
        for model, row in models(found, "loras").items()
    ]
    head = ["seconds", *(MODELS[model] for model in models(found, "loras"))]
    return shown("Another LoRA", "loras", found, place, words, table(head, rows), " ".join(differences))


DIFFERENCE = "largest difference of the networks' outputs, relative"


def memory(found: Results, place: str) -> str:
    words = (
        "What the process that makes pictures takes, in MiB: resident without and with its model, at its most while so"
        " many pictures are made at a time, and after each ten further pictures, which should stay flat."
    )
    head = ["model", "contender", "no model", "with it", "so many at a time", "after each ten further"]
    on_gpu = any("on the GPU" in name for _, _, row in kept(found) for name in row)
    rows = [
        [
            MODELS[model],
            name,
            number(row["without a model"]),
            number(row["with the model"]),
            counted(row["at most, so many at a time"]),
            ", ".join(map(number, row["after each ten further pictures"])),
            *([counted(row["on the GPU at most, so many at a time"])] if on_gpu else []),
        ]
        for model, name, row in kept(found)
    ]
    head += ["on the GPU, so many at a time"] if on_gpu else []
    return shown("Memory", "memory", found, place, words, table(head, rows))


def kept(found: Results) -> list[tuple[str, str, Result]]:
    return [
        (model, name, row)
        for model, each in models(found, "memory").items()
        for name, row in each["contenders"].items()
    ]


def counted(by_users: Result) -> str:
    return ", ".join(f"{users}: {number(value)}" for users, value in by_users.items())


def low_memory(found: Results, place: str) -> str:
    words = "Each way to share a GPU that is too small for a model, beside the whole model on it. Seconds of a picture."
    head = ["model", "on the GPU", "seconds", "peak, MiB", "largest difference, of 255"]
    rows = [
        [
            MODELS[model],
            MODES[mode],
            number(way["seconds"]),
            number(way["vram_peak_mb"]),
            number(way["largest difference"]),
        ]
        for model, row in models(found, "low_memory").items()
        for mode, way in row["ways"].items()
    ]
    return shown("A small GPU", "low_memory", found, place, words, table(head, rows))


def shown(title: str, bench: str, found: Results, place: str, words: str, *parts: str) -> str:
    """What a bench measures is said once."""
    heading, told = (f"### {title}, on a GPU", "") if place and bench != "low_memory" else (f"### {title}", words)
    if not models(found, bench):
        return section(heading, told, missing(bench))
    return section(heading, told, *parts, made_by(found[bench]))
