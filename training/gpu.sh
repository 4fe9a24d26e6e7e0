#!/usr/bin/env bash
# The embedded model, made on a GPU, in calls of ten minutes: bash training/gpu.sh, again and again until it says that
# all is done. It goes on where it was stopped (exit 75 says that there is more to do).
#   bash training/gpu.sh wheels 3.12   before, where there is an index of packages: what is carried to that machine,
#                                      which has torch and its own numpy and pillow, for its version of Python
#   bash training/gpu.sh               draws, trains, judges: the model, its LoRAs, its judge and sheets
#   bash training/gpu.sh bring N       the N-th part of all that, for a machine that gives back few files
#   bash training/gpu.sh put DIR       back at home, with all parts in DIR: unpacks them over assets/ and training/
# RECIPE: large, or toy to see that it runs. BUDGET: seconds of a call. OUT: where what is brought goes; with it, each
# call brings the log, and the first part when there is one. PYTHON: which Python.
set -uo pipefail
cd "$(dirname "$0")/.."

if [[ -z ${PYTHON:-} ]]; then
    PYTHON=.venv/bin/python
    [[ -x $PYTHON ]] || PYTHON=python3
fi
until=$(($(date +%s) + ${BUDGET:-540})) recipe=${RECIPE:-large} size=15m parts=4
grown=build/grown-$recipe packed=build/packed-$recipe log=build/training-$recipe.log
model=$grown/assets/models/embedded loras=$grown/assets/loras judge=$grown/training/judge.safetensors
export PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1
export PYTHONPATH=$PWD/build/site${PYTHONPATH:+:$PYTHONPATH} TORCHINDUCTOR_CACHE_DIR=$PWD/build/compiled

# bring N: parts of a few MiB, of which a call gives back so many and no more.
bring() {
    rm -rf "$packed" && mkdir -p "$packed" "$OUT"
    tar -cf - -C "$grown" assets training sheets 2>/dev/null | split -b "$size" -d -a 2 - "$packed/grown.tar."
    local all=("$packed"/grown.tar.*)
    cp "${all[@]:($1 - 1) * parts:parts}" "$OUT/"
    echo "== ${#all[@]} parts, in $(((${#all[@]} + parts - 1) / parts)) calls"
}

case ${1:-} in
wheels)
    exec "$PYTHON" -m bench.carried get "$2" annotated-types diffusers huggingface-hub peft pydantic pydantic-core \
        tokenizers transformers typing-inspection
    ;;
bring) OUT=${OUT:-build/brought} bring "${2:-1}" && exit ;;
put) rm -rf assets/models/embedded && cat "$2"/grown.tar.* | tar -x assets training && exit ;;
esac

home() {
    [[ ${OUT:-} ]] || return
    mkdir -p "$OUT" && cp "$log" "$OUT/"
    [[ -e $model/model_index.json ]] && bring 1
}
trap home EXIT

# go SECONDS NAME MODULE ARGUMENT...: one stage, if at least so much time is left. What is finished is passed over.
go() {
    local least=$1 name=$2 began=$SECONDS answer
    shift 2
    [[ -e $grown/done/$name ]] && return
    if ((until - $(date +%s) < least)); then
        echo "== no time left for $name: call again"
        exit 75
    fi
    "$PYTHON" -W ignore -m "$@" >>"$log" 2>&1
    answer=$?
    echo "== $((SECONDS - began)) s, exit $answer: $name"
    if ((answer)); then
        tail -n 5 "$log"
        exit "$answer"
    fi
    touch "$grown/done/$name"
}

train() {
    local least=$1 name=$2
    shift 2
    go "$least" "$name" training "$name" --recipe "$recipe" --work "build/training-$recipe" --model "$model" \
        --loras "$loras" --judge "$judge" --until "$until" "$@"
}

mkdir -p "$grown/done" "$(dirname "$judge")"
[[ -d build/site ]] || "$PYTHON" -m bench.carried put build/site
few=() long=120
[[ $recipe == toy ]] && few=(--prompts 20) long=15
train 15 train
train 15 fast
train "$long" score "${few[@]}" --before assets/models/embedded
train 15 lora
go "$long" card training.lora_card --recipe "$recipe" --model "$model" --loras "$loras" --judge "$judge"
go "$long" sheets training.sheets --model "$model" --loras "$loras" --to "$grown/sheets"
echo "== all is done: $(du -sh "$grown" | cut -f1) in $grown"
