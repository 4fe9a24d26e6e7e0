#!/usr/bin/env bash
# All that is measured of models on a GPU, in one call: bash bench/gpu.sh. It needs Python with torch, and brings what
# else is missing where `bash bench/gpu.sh wheels 3.12` downloaded it before, for that version of Python.
# The most important comes first. What has no time left is left out, and what fails stops nothing else.
# BUDGET: seconds for all of it. OUT: where the figures go, into a folder named gpu. PYTHON: which Python.
# ONLY: a word, and nothing is run but those commands that have it, such as ONLY=single.
# TINY=1: the same with thin models and few rounds, on a CPU, to see that it runs.
set -uo pipefail
cd "$(dirname "$0")/.."

if [[ -z ${PYTHON:-} ]]; then
    PYTHON=.venv/bin/python
    [[ -x $PYTHON ]] || PYTHON=python3
fi
if [[ ${1:-} == wheels ]]; then
    shift
    exec "$PYTHON" -m bench.carried get "$@"
fi

budget=${BUDGET:-570} models=build/bench failed=()
if [[ ${TINY:-} ]]; then
    out=${OUT:-build/tiny} sd=thin-sd15 xl=thin-sdxl patience=4
    few=(--steps 3) fewest=("${few[@]}") rounds=1 users=(1 4) arrivals=4 warm=4 others=2 tens=1
else
    out=${OUT:-bench/results} sd=sd15 xl=sdxl patience=1
    few=() fewest=(--steps 4) rounds=2 users=(1 4 16) arrivals=16 warm=24 others=8 tens=2
fi
export BENCH_RESULTS=$out/gpu PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1
export PYTHONPATH=$PWD/build/site${PYTHONPATH:+:$PYTHONPATH} TORCHINDUCTOR_CACHE_DIR=$PWD/build/compiled
mkdir -p "$BENCH_RESULTS"

# go SECONDS MODULE ARGUMENT...: runs one, for at most so long.
go() {
    local most=$(($1 * patience)) left=$((budget - SECONDS)) began=$SECONDS answer
    shift
    [[ "$*" == *"${ONLY:-}"* || $1 == bench.networks ]] || return
    if ((left < 15)); then
        echo "== left out, no time: $*"
        failed+=("no time: $*")
        return
    fi
    timeout --kill-after=5 "$((most < left ? most : left))" "$PYTHON" -m "$@" >>"$BENCH_RESULTS/log" 2>&1
    answer=$?
    echo "== $((SECONDS - began)) s, exit $answer: $*"
    if ((answer)); then
        failed+=("exit $answer: $*")
        grep -aE '^([A-Za-z_.]*(Error|Exit)|The pictures)' "$BENCH_RESULTS/log" | tail -n 3
    fi
}

: >"$BENCH_RESULTS/log"
"$PYTHON" -m bench.carried put build/site
"$PYTHON" -c 'import torch; print(torch.__version__, torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU")'
kept=(--folder "$models")
go 60 bench.networks "$models" "$sd" "$xl"
go 60 bench.single "$sd" "${kept[@]}" "${few[@]}" --contenders ours plain
go 120 bench.throughput "$sd" "${kept[@]}" "${few[@]}" --contenders ours plain --rounds "$rounds" \
    --users "${users[@]}" --arrivals "$arrivals" --warm "$warm"
go 70 bench.single "$xl" "${kept[@]}" "${few[@]}" --contenders ours plain --rounds 3
go 150 bench.throughput "$xl" "${kept[@]}" "${few[@]}" --contenders ours plain --rounds 1 \
    --users "${users[@]}" --arrivals 0 --warm "$warm"
go 80 bench.waiting "$sd" "${kept[@]}" "${few[@]}" --rounds "$rounds" --others "$others"
go 60 bench.models "$xl" "${kept[@]}" --rounds "$rounds"
go 60 bench.loras "$xl" --rounds "$rounds"
go 90 bench.memory "$xl" "${kept[@]}" "${fewest[@]}" --tens "$tens"
go 90 bench.low_memory "$xl" "${kept[@]}" "${fewest[@]}"
# What is compiled takes minutes before, ours and the best by hand alike, so it comes last.
compiled=(--compile build/compiled/ours --settle 150)
go 240 bench.single "$sd" "${kept[@]}" "${few[@]}" "${compiled[@]}"
go 300 bench.single "$xl" "${kept[@]}" "${few[@]}" "${compiled[@]}" --rounds 3

echo "== $SECONDS s in all; $(ls "$BENCH_RESULTS"/*.json 2>/dev/null | wc -l) results in $BENCH_RESULTS"
((${#failed[@]} == 0)) || printf '== not there: %s\n' "${failed[@]}"
((${#failed[@]} == 0))
