#!/usr/bin/env bash
# Builds RocksDB's C++ exactly once per version and keeps the archive, since it takes longer than
# everything else together (measured: 10.5 minutes on two cores with clang). Demo, tests, CI and
# any other profile link the same archive through ROCKSDB_LIB_DIR (deploy/env.sh).
#
# Does nothing when the archive is there. YIN_CACHE moves it.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

archive=$ROCKSDB_LIB_DIR/librocksdb.a
if [ -s "$archive" ]; then
    echo "rocksdb: $YIN_ROCKSDB_VERSION is there ($archive)"
    exit 0
fi
if [ "$ROCKSDB_LIB_DIR" != "$YIN_CACHE/rocksdb/$YIN_ROCKSDB_VERSION" ]; then
    echo "rocksdb: ROCKSDB_LIB_DIR names $ROCKSDB_LIB_DIR, which has no librocksdb.a:" >&2
    echo "rocksdb: put $YIN_ROCKSDB_VERSION there, or unset it to have it built" >&2
    exit 1
fi

echo "rocksdb: building $YIN_ROCKSDB_VERSION once into $archive"
echo "rocksdb: this takes about ten minutes on two cores, with no output meanwhile"
build=$YIN_CACHE/rocksdb-build
messages=$(mktemp)
trap 'rm -f "$messages"' EXIT
mkdir -p "$ROCKSDB_LIB_DIR"

# Its build script compiles the C++ only when no archive is named. The JSON messages tell which
# folder this build wrote to: older builds may lie beside it.
cd "$YIN_ROOT"
env -u ROCKSDB_LIB_DIR -u ROCKSDB_STATIC CC=clang CXX=clang++ \
    cargo build --locked -p librocksdb-sys --target-dir "$build" \
    --message-format=json-render-diagnostics >"$messages"
out=$(sed -n '/"reason":"build-script-executed"/{/librocksdb-sys/s/.*"out_dir":"\([^"]*\)".*/\1/p}' \
    "$messages" | tail -n 1)
if [ ! -s "$out/librocksdb.a" ]; then
    echo "rocksdb: cargo ended well, but there is no librocksdb.a in '${out}'" >&2
    exit 1
fi

# Rename last: an interrupted copy is never mistaken for an archive.
partial=$(mktemp "$ROCKSDB_LIB_DIR/.librocksdb.XXXXXX")
cp "$out/librocksdb.a" "$partial"
chmod 0644 "$partial"
mv "$partial" "$archive"
rm -rf "$build"
echo "rocksdb: built $archive"
