#!/usr/bin/env bash
# Runs all benches of models on a GPU: bash bench/gpu.sh. It needs Python with torch, and unpacks the other packages
# that `bash bench/gpu.sh wheels 3.12` downloaded before, for that version of Python.
# The most important benches run first. Those for which no time is left are skipped; a failure does not stop the rest.
# BUDGET: seconds for all of it. OUT: folder for the results, in a subfolder gpu. PYTHON: which Python.
# ONLY: a word; runs only the commands that contain it, such as ONLY=single.
# TINY=1: the same with thin models and few rounds, on a CPU, to check that it runs.
set -uo pipefail
cd "$(dirname "$0")/.."

if [[ -z ${PYTHON:-} ]]; then
    PYTHON=.venv/bin/python
    [[ -x $PYTHON ]] || PYTHON=python3
fi
if [[ ${1:-} == wheels ]]; then
    shift
    exec "$PYTHON" -m bench.offline_wheels get "$@"
fi

budget=${BUDGET:-570} models=build/bench failed=()
if [[ ${TINY:-} ]]; then
    out=${OUT:-build/tiny} sd=thin-sd15 xl=thin-sdxl slowdown=4
    few=(--steps 3) fewest=("${few[@]}") rounds=1 users=(1 4) arrivals=4 warm=4 others=2 tens=1
else
    out=${OUT:-bench/results} sd=sd15 xl=sdxl slowdown=1
    few=() fewest=(--steps 4) rounds=2 users=(1 4 16) arrivals=16 warm=24 others=8 tens=2
fi
export BENCH_RESULTS=$out/gpu PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1
export PYTHONPATH=$PWD/build/site${PYTHONPATH:+:$PYTHONPATH} TORCHINDUCTOR_CACHE_DIR=$PWD/build/compiled
mkdir -p "$BENCH_RESULTS"

# go SECONDS MODULE ARGUMENT...: runs one bench, for at most SECONDS.
go() {
    local limit=$(($1 * slowdown)) left=$((budget - SECONDS)) began=$SECONDS status
    shift
    [[ "$*" == *"${ONLY:-}"* || $1 == bench.create_models ]] || return
    if ((left < 15)); then
        echo "== skipped, no time: $*"
        failed+=("no time: $*")
        return
    fi
    timeout --kill-after=5 "$((limit < left ? limit : left))" "$PYTHON" -m "$@" >>"$BENCH_RESULTS/log" 2>&1
    status=$?
    echo "== $((SECONDS - began)) s, exit $status: $*"
    if ((status)); then
        failed+=("exit $status: $*")
        grep -aE '^([A-Za-z_.]*(Error|Exit)|The pictures)' "$BENCH_RESULTS/log" | tail -n 3
    fi
}

: >"$BENCH_RESULTS/log"
"$PYTHON" -m bench.offline_wheels put build/site
"$PYTHON" -c 'import torch; print(torch.__version__, torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU")'
keep=(--folder "$models")
go 60 bench.create_models "$models" "$sd" "$xl"
go 60 bench.single "$sd" "${keep[@]}" "${few[@]}" --contenders ours plain
go 120 bench.throughput "$sd" "${keep[@]}" "${few[@]}" --contenders ours plain --rounds "$rounds" \
    --users "${users[@]}" --arrivals "$arrivals" --warm "$warm"
go 70 bench.single "$xl" "${keep[@]}" "${few[@]}" --contenders ours plain --rounds 3
go 150 bench.throughput "$xl" "${keep[@]}" "${few[@]}" --contenders ours plain --rounds 1 \
    --users "${users[@]}" --arrivals 0 --warm "$warm"
go 80 bench.waiting "$sd" "${keep[@]}" "${few[@]}" --rounds "$rounds" --others "$others"
go 60 bench.models "$xl" "${keep[@]}" --rounds "$rounds"
go 60 bench.loras "$xl" --rounds "$rounds"
go 90 bench.memory "$xl" "${keep[@]}" "${fewest[@]}" --tens "$tens"
go 90 bench.low_memory "$xl" "${keep[@]}" "${fewest[@]}"
# Compiling takes minutes before anything is measured, so these come last.
compiled=(--compile build/compiled/ours --settle 150)
go 240 bench.single "$sd" "${keep[@]}" "${few[@]}" "${compiled[@]}"
go 300 bench.single "$xl" "${keep[@]}" "${few[@]}" "${compiled[@]}" --rounds 3

echo "== $SECONDS s in all; $(ls "$BENCH_RESULTS"/*.json 2>/dev/null | wc -l) results in $BENCH_RESULTS"
((${#failed[@]} == 0)) || printf '== no result: %s\n' "${failed[@]}"
((${#failed[@]} == 0))
