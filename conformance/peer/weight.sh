#!/usr/bin/env bash
# What "list pods over TLS" weighs with each client: packages, CPU seconds of a clean release build, bytes of the program.
# Other work on the machine changes the seconds a little. Usage: weight.sh [kube] [tokio] [smol]
set -euo pipefail
cd "$(dirname "$0")"
export CARGO_INCREMENTAL=0 CARGO_TERM_COLOR=never
target=$(mktemp -d)
trap 'rm -rf "$target"' EXIT
cargo fetch --quiet

printf '| client | packages | with build packages | build, CPU s | stripped, MB |\n| --- | ---: | ---: | ---: | ---: |\n'
[ $# -gt 0 ] || set -- kube tokio smol
for client; do
  package=list-pods-$client
  packages() {
    cargo tree --package "$package" --edges "$1" --prefix none --no-dedupe | awk '{print $1, $2}' | sort -u | wc -l
  }
  # A profile as people have it: without the debug information that the comparison asks for.
  export CARGO_PROFILE_RELEASE_DEBUG=false CARGO_TARGET_DIR=$target/$client
  TIMEFORMAT='%U %S'
  { time cargo build --quiet --release --package "$package" 2>&1; } 2>"$target/seconds" || exit
  seconds=$(awk '{print $1 + $2}' "$target/seconds")
  strip "$target/$client/release/$package"
  bytes=$(stat -c %s "$target/$client/release/$package")
  printf '| %s | %s | %s | %s | %s |\n' "$client" "$(packages normal)" "$(packages normal,build)" "$seconds" \
    "$(awk -v bytes="$bytes" 'BEGIN {printf "%.2f", bytes / 1e6}')"
  rm -rf "${target:?}/$client"
done
