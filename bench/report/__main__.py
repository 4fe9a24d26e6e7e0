"""See bench.report."""

from __future__ import annotations

from bench.report.page import page
from bench.report.plots import draw
from bench.report.tables import PAGE, PLOTS, results


def main() -> None:
    found, on_gpu = results()
    PAGE.write_text(page(found, on_gpu), encoding="utf-8")
    draw(found, on_gpu, PLOTS)
    print(f"{PAGE.name}, and {len(list(PLOTS.glob('*.svg')))} plots")


if __name__ == "__main__":
    main()
