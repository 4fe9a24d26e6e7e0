"""Sections on the studio around the models."""

from __future__ import annotations

from bench.report.tables import (
    Results,
    format_missing,
    format_number,
    format_provenance,
    format_ratio,
    plot,
    section,
    table,
)

ENCODERS = (
    "Pillow, level 6, its default",
    "Pillow, level 1",
    "imagegen.media.png",
    "WEBP, lossless",
    "WEBP, quality 90",
)


def start(results: Results) -> str:
    words = (
        "Time from the start of the studio to its page, to a response of its API, and to a first picture, which waits"
        " for torch and the embedded model. Compared with `import gradio` alone, which every Gradio page needs."
    )
    if "start" not in results:
        return section("### Start", words, format_missing("start"))
    result = results["start"]
    head = ["until", "seconds", "ratio", "processor seconds of the web process", "ratio"]
    rows = [
        [name, *(format_number(row[key]) for key in ("seconds", "ratio", "processor seconds", "processor ratio"))]
        for name, row in result["medians"].items()
    ]
    memory = f"The peak memory of the web process is {format_number(result['peak_memory_mb of the web process'])} MiB."
    return section("### Start", words, table(head, rows), memory, format_provenance(result))


def doors(results: Results) -> str:
    words = (
        "The cost of one call through each API, from the request until the client has the picture, with an engine that"
        " costs nothing; and the server's processor time per call. The first row is the health route, without a job."
    )
    if "doors" not in results:
        return section("### APIs", words, format_missing("doors"))
    result = results["doors"]
    (concurrent_key,) = [key for key in result if key.endswith("clients at once")]
    rows = [
        [
            name,
            format_number(row["ms"]),
            format_number(row["server's processor ms"]),
            format_number(result[concurrent_key].get(name, {}).get("calls per second")),
        ]
        for name, row in result["one call"].items()
    ]
    head = ["API", "ms a call", "server's processor, ms", f"calls a second, {concurrent_key}"]
    return section(
        "### APIs", words, plot("doors", "cost of a call per API"), table(head, rows), format_provenance(result)
    )


def images(results: Results) -> str:
    words = (
        "Encoders for picture files. The lossless ones were first checked to keep all pixels. Time and size are"
        " relative to Pillow's default. The plot shows all encoders, for the picture of medium size."
    )
    if "images" not in results:
        return section("### Picture files", words, format_missing("images"))
    result = results["images"]
    rows = [
        [
            picture,
            encoder,
            format_number(row["ms"]),
            format_number(row["time"]),
            format_number(row["KiB"]),
            format_number(row["size"]),
        ]
        for picture, rows_by_encoder in result["pictures"].items()
        for encoder, row in rows_by_encoder.items()
        if encoder in ENCODERS
    ]
    head = ["picture", "encoder", "ms", "time", "KiB", "size"]
    picture = plot("images", "time to write a picture against its size")
    return section("### Picture files", words, picture, table(head, rows), format_provenance(result))


def embedded(results: Results) -> str:
    words = (
        "A picture of 20 steps by the embedded model through the engine, compared with the stock pipeline in the same"
        " process; a picture of 4 steps by `embedded-fast`; and the cost of one preview."
    )
    if "embedded" not in results:
        return section("### The embedded model", words, format_missing("embedded"))
    result = results["embedded"]
    rows = [[name, format_number(value)] for name, value in result["seconds"].items()]
    rest = (
        f"Loading takes {format_number(result['seconds to load'])} seconds, a preview"
        f" {format_number(result['preview_ms'])} ms."
        f" The peak memory of the process is {result['peak_memory_mb']} MiB."
    )
    return section(
        "### The embedded model", words, table(["contender", "seconds"], rows), rest, format_provenance(result)
    )


def step_cache(results: Results) -> str:
    words = (
        "Pictures with step caching (`step_cache`) differ, so they are measured apart from all others, on the embedded"
        " model. How many steps were computed, their share of the seconds, and the PSNR to the pictures with every step"
        " computed."
    )
    if "step_cache" not in results:
        return section("### Step caching", words, format_missing("step_cache"))
    result = results["step_cache"]
    rows = [
        [
            name,
            format_number(row["steps computed"]),
            format_number(row["share of the seconds"]),
            format_number(row["dB"]["median"]),
            format_number(row["dB"]["worst"]),
        ]
        for name, row in result["thresholds"].items()
    ]
    head = ["step_cache", "steps computed", "share of the seconds", "median, dB", "worst, dB"]
    return section("### Step caching", words, table(head, rows), format_provenance(result))


def tools(results: Results) -> str:
    words = (
        "The tools for pictures on the embedded model, beside pipelines of diffusers that are called once per picture."
        " Upscaling is compared with the same network on the whole picture at once; ours works in tiles. Seconds of the"
        " median, after comparing the pictures; memory is what each takes at its peak beyond what it had before."
    )
    if "tools" not in results:
        return section("### Tools", words, format_missing("tools"))
    result = results["tools"]
    head = ["tool", "ours, s", "plain, s", "speed of ours", "agrees with plain, dB", "ours, MiB", "plain, MiB"]
    rows = [
        [
            name,
            *(format_number(row["seconds"][contender]) for contender in ("ours", "plain")),
            format_ratio(row["times as fast as plain"]),
            format_number(row["agreement with plain in dB"]),
            *(format_number(row.get("memory", {}).get(contender)) for contender in ("ours", "plain")),
        ]
        for name, row in result["tools"].items()
    ]
    return section("### Tools", words, table(head, rows), format_provenance(result))


def library(results: Results) -> str:
    words = (
        "A studio with many pictures of one user, beside an empty one; both answer in turns. Milliseconds as the client"
        " sees them, with an engine that costs nothing."
    )
    if "library" not in results:
        return section("### A large library", words, format_missing("library"))
    result = results["library"]
    rows = [[label, *map(format_number, times.values())] for label, times in result["ms"].items()]
    starts = result["start, s"]
    rest = (
        f"The start takes {starts['full']} s with {result['pictures']:,} pictures, and {starts['empty']} s with none."
    )
    head = ["request", "empty", f"{result['pictures']:,} pictures"]
    return section("### A large library", words, table(head, rows), rest, format_provenance(result))


def soak(results: Results) -> str:
    words = (
        "Loads and faults that the studio must stand, on the embedded model, which are made from outside: processes are"
        " killed and stopped, a disk is full, clients are many, slow or hostile. `bench/soak/scorecard.py` has the load"
        " or fault of each row, and what must happen. Times depend on other load on the machine; where possible they"
        " are compared with something that is measured at the same time."
    )
    if "soak" not in results:
        return section("### Load and faults", words, format_missing("soak"))
    result = results["soak"]
    rows = [
        [name, figure["what"], figure["measured"], figure["limit"], format_verdict(figure["passed"])]
        for name, figures in result["rows"].items()
        for figure in figures
    ]
    head = ["row", "what", "measured", "limit", ""]
    return section("### Load and faults", words, table(head, rows), format_provenance(result))


def format_verdict(passed: bool | None) -> str:
    return {True: "pass", False: "FAIL", None: "not measured"}[passed]
