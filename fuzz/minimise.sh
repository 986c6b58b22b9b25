#!/bin/sh
# Takes what fuzz/run.sh found into the corpora and keeps the smallest inputs that reach the same code:
# fuzz/minimise.sh [TARGET...]
set -eu
cd "$(dirname "$0")/.."

if [ $# -eq 0 ]; then
    for file in fuzz/fuzz_targets/*.rs; do
        set -- "$@" "$(basename "$file" .rs)"
    done
fi

export RUSTC_BOOTSTRAP=1
for target in "$@"; do
    corpus=fuzz/corpus/$target
    work=target/fuzz/corpus/$target
    mkdir -p "$corpus" "$work"
    find "$work" -type f -size -16k -exec cp {} "$corpus" \;
    # By edges, not by how often: that keeps some hundred files less of the same kind.
    cargo fuzz cmin --features libfuzzer "$target" "$corpus" -- -use_counters=0
    # No target may take more than its share of 1 MiB: the largest go first.
    while [ "$(cat "$corpus"/* | wc -c)" -gt 110000 ]; do
        find "$corpus" -type f -printf '%s %p\n' | sort -rn | head -n 5 | cut -d' ' -f2- | xargs rm
    done
    echo "$target: $(find "$corpus" -type f | wc -l) files, $(cat "$corpus"/* | wc -c) bytes"
done
