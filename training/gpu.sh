#!/usr/bin/env bash
# Trains the embedded model on a GPU, in calls of ten minutes: bash training/gpu.sh, repeatedly, until it prints that all
# is done. It resumes where it was stopped (exit 75: there is more to do).
#   bash training/gpu.sh wheels 3.12   before, on a machine with a package index: downloads packages for the GPU machine,
#                                      which has torch, numpy and pillow, for its version of Python
#   bash training/gpu.sh               draws, trains, scores: the model, its LoRAs and ControlNet, its judge, sheets
#   bash training/gpu.sh export N      copies the N-th part of the results, for a machine that returns few files
#   bash training/gpu.sh import DIR    on your machine, with all parts in DIR: unpacks them over assets/ and training/
# RECIPE: large, or toy to check that it runs. BUDGET: seconds of a call. OUT: folder for exports; if it is set, each
# call copies the log, and the first part when there is one. PYTHON: which Python.
set -uo pipefail
cd "$(dirname "$0")/.."

if [[ -z ${PYTHON:-} ]]; then
    PYTHON=.venv/bin/python
    [[ -x $PYTHON ]] || PYTHON=python3
fi
until=$(($(date +%s) + ${BUDGET:-540})) recipe=${RECIPE:-large} size=15m parts=4
results=build/results-$recipe parts_folder=build/parts-$recipe log=build/training-$recipe.log
model=$results/assets/models/embedded loras=$results/assets/loras judge=$results/training/judge.safetensors
controlnets=$results/assets/controlnets
export PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1
export PYTHONPATH=$PWD/build/site${PYTHONPATH:+:$PYTHONPATH} TORCHINDUCTOR_CACHE_DIR=$PWD/build/compiled

# export_part N: copies the N-th group of parts of a few MiB to OUT; a call can return only so many.
export_part() {
    rm -rf "$parts_folder" && mkdir -p "$parts_folder" "$OUT"
    tar -cf - -C "$results" assets training sheets 2>/dev/null | split -b "$size" -d -a 2 - "$parts_folder/results.tar."
    local all=("$parts_folder"/results.tar.*)
    cp "${all[@]:($1 - 1) * parts:parts}" "$OUT/"
    echo "== ${#all[@]} parts, in $(((${#all[@]} + parts - 1) / parts)) calls"
}

case ${1:-} in
wheels)
    exec "$PYTHON" -m bench.offline_wheels get "$2" annotated-types diffusers huggingface-hub peft pydantic pydantic-core \
        tokenizers transformers typing-inspection
    ;;
export) OUT=${OUT:-build/export} export_part "${2:-1}" && exit ;;
import) rm -rf assets/models/embedded && cat "$2"/results.tar.* | tar -x assets training && exit ;;
esac

export_log() {
    [[ ${OUT:-} ]] || return
    mkdir -p "$OUT" && cp "$log" "$OUT/"
    [[ -e $model/model_index.json ]] && export_part 1
}
trap export_log EXIT

# go SECONDS NAME MODULE ARGUMENT...: runs one stage if at least SECONDS are left. A finished stage is skipped.
go() {
    local least=$1 name=$2 began=$SECONDS status
    shift 2
    [[ -e $results/done/$name ]] && return
    if ((until - $(date +%s) < least)); then
        echo "== no time left for $name: call again"
        exit 75
    fi
    "$PYTHON" -W ignore -m "$@" >>"$log" 2>&1
    status=$?
    echo "== $((SECONDS - began)) s, exit $status: $name"
    if ((status)); then
        tail -n 5 "$log"
        exit "$status"
    fi
    touch "$results/done/$name"
}

train() {
    local least=$1 name=$2
    shift 2
    go "$least" "$name" training "$name" --recipe "$recipe" --work "build/training-$recipe" --model "$model" \
        --loras "$loras" --controlnets "$controlnets" --judge "$judge" --until "$until" "$@"
}

mkdir -p "$results/done" "$(dirname "$judge")"
[[ -d build/site ]] || "$PYTHON" -m bench.offline_wheels put build/site
few=() long=120
[[ $recipe == toy ]] && few=(--prompts 20) long=15
train 15 train
train 15 fast
train "$long" score "${few[@]}" --before assets/models/embedded
train 15 lora
go "$long" card training.lora_card --recipe "$recipe" --model "$model" --loras "$loras" --judge "$judge"
train 15 controlnet
go "$long" edges training.controlnet_card --recipe "$recipe" --model "$model" --controlnet "$controlnets/studio-edges"
go "$long" sheets training.sheets --model "$model" --loras "$loras" --to "$results/sheets"
echo "== all is done: $(du -sh "$results" | cut -f1) in $results"
