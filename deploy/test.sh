#!/usr/bin/env bash
# Runs every test of the workspace and closes with one line for all of them:
#
#   N passed, N failed
#
# Exits non-zero if a test failed, a test binary crashed or did not build, or the time ran out
# (TEST_TIMEOUT, seconds, counted after the build). Arguments go to `cargo test`. The closing line
# is also left in $CARGO_TARGET_DIR/test-summary.txt.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$YIN_ROOT"

limit=${TEST_TIMEOUT:-1500}
mkdir -p "$CARGO_TARGET_DIR"
log=$CARGO_TARGET_DIR/test-log.txt
summary=$CARGO_TARGET_DIR/test-summary.txt
rm -f "$summary"

# Compile first: the limit is for the tests alone.
cargo test --workspace --locked --no-run "$@"
# Some tests run the built binaries themselves. (Why `--test house`: see the Makefile's build.)
cargo build --workspace --locked --bins --test house

# Power cuts and full disks need mounts of their own.
if [ "$(id -u)" -ne 0 ] && [ -z "${YIN_WITHOUT_ROOT:-}" ]; then
    export YIN_WITHOUT_ROOT=1
    echo "test: not root: the tests that mount file systems (power cut, full disk) are left out"
fi

began=$SECONDS
status=0
timeout --kill-after=30 "$limit" \
    cargo test --workspace --locked --no-fail-fast --color never "$@" 2>&1 | tee "$log" || status=$?
if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
    echo "test: not done after ${limit} s (TEST_TIMEOUT); the last lines above say where it hung"
fi
echo "test: $((SECONDS - began)) s"
if [ -n "${YIN_WITHOUT_ROOT:-}" ]; then
    echo "test: left out: power cut, full disk (they need root)"
fi

awk -v status="$status" -f deploy/sum-tests.awk "$log" | tee "$summary"
exit "$status"
