"""See bench.report."""

from __future__ import annotations

from bench.report.page import build_page
from bench.report.plots import draw
from bench.report.tables import PAGE, PLOTS, load_results


def main() -> None:
    results, gpu_results = load_results()
    PAGE.write_text(build_page(results, gpu_results), encoding="utf-8")
    draw(results, gpu_results, PLOTS)
    print(f"{PAGE.name}, and {len(list(PLOTS.glob('*.svg')))} plots")


if __name__ == "__main__":
    main()
