#!/usr/bin/env bash
# Instructions of each benchmark of the core for one round, counted by callgrind: they do not depend on what else the
# machine does, so two commits can be compared. Needs valgrind. Usage: callgrind.sh [TEXT IN THE NAME]
set -euo pipefail
cd "$(dirname "$0")/../.."
export CARGO_INCREMENTAL=0 CARGO_TERM_COLOR=never
programs=$(cargo bench --quiet -p kubewire --features k8s-openapi --bench decode --bench protocol --no-run --message-format json |
  sed -n 's/.*"executable":"\([^"]*\)".*/\1/p')

# Everything that the program executes with so many rounds.
instructions() {
  valgrind --tool=callgrind --callgrind-out-file=/dev/null "$1" --bench --exact "$2" --sample-count 1 --sample-size "$3" 2>&1 |
    sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}

for program in $programs; do
  for name in $("$program" --list | sed -n '1{s/ .*//;h;d};s/^[├╰]─ \([a-z0-9_]*\).*/\1/;G;s/\(.*\)\n\(.*\)/\2::\1/p' | grep -F -- "${1:-}"); do
    # The difference leaves out the start of the program and the preparation.
    few=$(instructions "$program" "$name" 1)
    many=$(instructions "$program" "$name" 11)
    printf '%-45s %12d\n' "$name" $(((many - few) / 10))
  done
done
