#!/bin/sh
# Runs the fuzz targets: fuzz/run.sh [SECONDS [TARGET...]]
#
# Each target runs for SECONDS (60) with one worker, from fuzz/corpus/TARGET. What it finds on the way
# goes to target/fuzz/corpus/TARGET, crashing inputs to fuzz/artifacts/TARGET. Exits non-zero if there
# is one. Needs the network only if cargo-fuzz is not installed.
set -eu
cd "$(dirname "$0")/.."

seconds=${1:-60}
[ $# -eq 0 ] || shift
if [ $# -eq 0 ]; then
    for file in fuzz/fuzz_targets/*.rs; do
        set -- "$@" "$(basename "$file" .rs)"
    done
fi

if ! cargo fuzz --version >/dev/null 2>&1; then
    cargo install --locked cargo-fuzz
fi

# Sanitizer flags are unstable; the toolchain stays the stable one.
export RUSTC_BOOTSTRAP=1
cargo fuzz build --features libfuzzer

failed=
for target in "$@"; do
    work=target/fuzz/corpus/$target
    mkdir -p "$work"
    echo "== $target, $seconds s"
    cargo fuzz run --features libfuzzer "$target" "$work" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -max_len=4096 -timeout=20 -rss_limit_mb=2048 \
        -workers=1 -print_final_stats=1 || failed="$failed $target"
done

if [ -n "$failed" ]; then
    echo "findings in:$failed (see fuzz/artifacts)" >&2
    exit 1
fi
