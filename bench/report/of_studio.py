"""What was measured of the studio around the models."""

from __future__ import annotations

from bench.report.tables import Results, made_by, missing, number, plot, section, table

WAYS = ("Pillow, level 6, its default", "Pillow, level 1", "imagegen.png", "WEBP, lossless", "WEBP, quality 90")


def start(found: Results) -> str:
    words = (
        "From a start of the studio to its page, to an answer of its API and to a first picture, which waits for torch"
        " and the embedded model. Beside it, `import gradio` alone, which any page made with Gradio takes."
    )
    if "start" not in found:
        return section("### Start", words, missing("start"))
    result = found["start"]
    head = ["until", "seconds", "ratio", "processor seconds of the web process", "ratio"]
    rows = [
        [name, *(number(row[key]) for key in ("seconds", "ratio", "processor seconds", "processor ratio"))]
        for name, row in result["medians"].items()
    ]
    memory = f"The web process takes {number(result['peak_memory_mb of the web process'])} MiB at its most."
    return section("### Start", words, table(head, rows), memory, made_by(result))


def doors(found: Results) -> str:
    words = (
        "What one call costs at each door, from the request until its client has the picture, when the engine costs"
        " nothing; and the server's processor time for it. The first row is the route that says the server lives."
    )
    if "doors" not in found:
        return section("### Doors", words, missing("doors"))
    result = found["doors"]
    (many,) = [key for key in result if key.endswith("clients at once")]
    rows = [
        [
            name,
            number(row["ms"]),
            number(row["server's processor ms"]),
            number(result[many].get(name, {}).get("calls per second")),
        ]
        for name, row in result["one call"].items()
    ]
    head = ["door", "ms a call", "server's processor, ms", f"calls a second, {many}"]
    return section("### Doors", words, plot("doors", "cost of a call per door"), table(head, rows), made_by(result))


def images(found: Results) -> str:
    words = (
        "Ways to write a picture into a file. Those that promise to lose nothing were first seen to keep every pixel."
        " Time and size are told as shares of Pillow's default. The plot shows all ways, for the picture in the middle."
    )
    if "images" not in found:
        return section("### Pictures into files", words, missing("images"))
    result = found["images"]
    rows = [
        [picture, way, number(row["ms"]), number(row["time"]), number(row["KiB"]), number(row["size"])]
        for picture, ways in result["pictures"].items()
        for way, row in ways.items()
        if way in WAYS
    ]
    head = ["picture", "way", "ms", "time", "KiB", "size"]
    picture = plot("images", "time to write a picture against its size")
    return section("### Pictures into files", words, picture, table(head, rows), made_by(result))


def embedded(found: Results) -> str:
    words = (
        "A picture of 20 steps by the embedded model through the engine, with nothing but the plain pipeline in the"
        " same process beside it; one of 4 steps by `embedded-fast`; and what one preview costs."
    )
    if "embedded" not in found:
        return section("### The embedded model", words, missing("embedded"))
    result = found["embedded"]
    rows = [[name, number(value)] for name, value in result["seconds"].items()]
    rest = (
        f"To load it takes {number(result['seconds to load'])} seconds, a preview {number(result['preview_ms'])} ms."
        f" The process has {result['peak_memory_mb']} MiB at its most."
    )
    return section("### The embedded model", words, table(["contender", "seconds"], rows), rest, made_by(result))


def step_cache(found: Results) -> str:
    words = (
        "Not the same picture, and so apart from all others: steps that are guessed (`step_cache`), on the embedded"
        " model. How many steps were computed, their share of the seconds, and how near the pictures are to those with"
        " every step computed."
    )
    if "step_cache" not in found:
        return section("### Steps that are guessed", words, missing("step_cache"))
    result = found["step_cache"]
    rows = [
        [
            name,
            number(row["steps computed"]),
            number(row["share of the seconds"]),
            number(row["dB"]["median"]),
            number(row["dB"]["worst"]),
        ]
        for name, row in result["thresholds"].items()
    ]
    head = ["step_cache", "steps computed", "share of the seconds", "median, dB", "worst, dB"]
    return section("### Steps that are guessed", words, table(head, rows), made_by(result))
