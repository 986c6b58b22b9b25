#!/usr/bin/env bash
# Breaks one line of the codec, the reflector, the pool and the session pump, one at a time, in a copy of the tree, and expects
# that tests notice. Takes some minutes: every mutation is compiled.
#
# cargo-mutants does the same at random: see CONTRIBUTING.md.
set -euo pipefail
cd "$(dirname "$0")/.."

copy=target/mutations
mkdir -p "$copy"
git archive HEAD | tar -xm -C "$copy"
survivors=0

# name, file, the line's part, what becomes of it, the tests
mutate() {
  local name=$1 file=$2 from=$3 to=$4
  shift 4
  FROM="$from" TO="$to" perl -0pi -e 's/\Q$ENV{FROM}\E/$ENV{TO}/ or die "the line is not there any more\n"' "$copy/$file"
  printf '%-10s %s: %s -> %s\n' "$name" "$file" "$from" "$to"
  if (cd "$copy" && CARGO_TARGET_DIR=target cargo test --quiet "$@") >"$copy.log" 2>&1; then
    echo "           SURVIVED"
    survivors=$((survivors + 1))
  elif grep -q '^error' "$copy.log" && ! grep -q 'test result: FAILED' "$copy.log"; then
    tail -n 20 "$copy.log"
    echo "           does not compile"
    exit 2
  else
    echo "           noticed by $(grep -cE '^    [a-z_:0-9]+$' "$copy.log" || true) tests, such as $(grep -m1 -E '^    [a-z_:0-9]+$' "$copy.log" | xargs)"
  fi
  git show "HEAD:$file" >"$copy/$file"
}

# The close of a channel names the wrong one: commands wait for the end of their input for ever.
mutate codec core/src/channel/mod.rs '[CLOSE, channel]' '[channel, CLOSE]' \
  -p kubewire --all-features --test session_exec

# A deletion is taken for a change: the cache keeps what is gone.
mutate reflector core/src/reflect/turns.rs \
  'self.events.push_back(ReflectEvent::Delete(object));
            }
            WatchEvent::Bookmark(bookmark)' \
  'self.events.push_back(ReflectEvent::Apply(object));
            }
            WatchEvent::Bookmark(bookmark)' \
  -p kubewire --all-features --test reflect_model

# A request that the server may have seen is sent again: a blind POST.
mutate pool adapters/driver/src/fault.rs 'stale: unsent && fresh.is_none()' 'stale: fresh.is_none()' \
  -p kubewire-conformance --test faults

# Nothing is read while a write is stuck: both sides wait for each other.
mutate pump adapters/driver/src/sessions/task.rs 'Poll::Pending => break,' 'Poll::Pending => return moved,' \
  -p kubewire-conformance --test suite -- hostile_io_on_local::exec

exit "$survivors"
