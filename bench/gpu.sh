#!/usr/bin/env bash
# All that is to be measured of models on a GPU, in one call: bash bench/gpu.sh. The figures come to bench/results.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-.venv/bin/python}
"$python" -m bench.models
"$python" -m bench.loras
"$python" -m bench.low_memory
