#!/usr/bin/env bash
# The embedded model, made on a GPU: bash training/gpu.sh. It needs Python with torch, and brings what else is missing
# where `bash bench/gpu.sh wheels 3.12` downloaded it before, for that version of Python.
# It stops after BUDGET seconds, saying that it goes on (exit 75): call it again until it says that all is done.
#   bash training/gpu.sh           draws, trains, judges: the model, its LoRAs, its judge and sheets, in build/grown
#   bash training/gpu.sh bring N   the N-th part of all that, for a machine that gives back few files: OUT/grown.*
#   bash training/gpu.sh put DIR   back at home, with all parts in DIR: unpacks them over assets/ and training/
# RECIPE: large, or toy to see that it runs. OUT: where what is brought goes. PYTHON: which Python.
set -uo pipefail
cd "$(dirname "$0")/.."

if [[ -z ${PYTHON:-} ]]; then
    PYTHON=.venv/bin/python
    [[ -x $PYTHON ]] || PYTHON=python3
fi
budget=${BUDGET:-570} recipe=${RECIPE:-large} grown=build/grown part=15m parts=4
model=$grown/assets/models/embedded loras=$grown/assets/loras judge=$grown/training/judge.safetensors
export PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1
export PYTHONPATH=$PWD/build/site${PYTHONPATH:+:$PYTHONPATH} TORCHINDUCTOR_CACHE_DIR=$PWD/build/compiled

case ${1:-} in
bring)
    out=${OUT:-build/brought}
    mkdir -p "$out"
    tar -cf build/grown.tar -C "$grown" .
    # A call brings so many parts of so many MiB, and no more.
    split -b "$part" -d -a 2 build/grown.tar build/grown.tar.
    all=(build/grown.tar.*)
    for file in "${all[@]:(${2:-1}-1)*parts:parts}"; do cp "$file" "$out/"; done
    echo "== ${#all[@]} parts, in $(((${#all[@]} + parts - 1) / parts)) calls"
    exit
    ;;
put)
    cat "$2"/grown.tar.* | tar -x
    exit
    ;;
esac

# go NAME MODULE ARGUMENT...: one stage, if there is time. What is finished is passed over.
go() {
    local left=$((budget - SECONDS)) began=$SECONDS name=$1 answer
    shift
    [[ -e $grown/done/$name ]] && return
    ((left > 15)) || exit 75
    "$PYTHON" -W ignore -m "$@" >>"$grown/log" 2>&1
    answer=$?
    echo "== $((SECONDS - began)) s, exit $answer: $name"
    if ((answer)); then
        tail -n 5 "$grown/log"
        exit "$answer"
    fi
    touch "$grown/done/$name"
}

mkdir -p "$grown/done" "$(dirname "$judge")"
[[ -d build/site ]] || "$PYTHON" -m bench.carried put build/site
train() {
    local name=$1
    shift
    go "$name" training "$name" --recipe "$recipe" --work build/training-"$recipe" --model "$model" --loras "$loras" \
        --judge "$judge" --seconds $((budget - SECONDS)) "$@"
}
train train
train fast
train lora
if [[ $recipe == toy ]]; then train score --prompts 20; else train score; fi
go card training.lora_card --recipe "$recipe" --model "$model" --loras "$loras" --judge "$judge"
go sheets training.sheets --model "$model" --loras "$loras" --to "$grown/sheets"
echo "== all is done: $(du -sh "$grown" | cut -f1) in $grown"
