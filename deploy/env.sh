# The build's environment. Source it with bash from anywhere: `source deploy/env.sh`.
#
# Everything that is built or downloaded once lands in one cache folder outside the work tree, so
# that several clones, the demo, the tests and CI share it:
#   $YIN_CACHE/target    cargo's target directory
#   $YIN_CACHE/rocksdb   RocksDB's archive, one folder a version (deploy/rocksdb.sh makes it)
#   $YIN_CACHE/tools     linters
# shellcheck shell=bash

YIN_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
YIN_CACHE=${YIN_CACHE:-$HOME/.cache/yin}

# The version of the C++ follows the lock file, so that an update builds a new archive.
YIN_ROCKSDB_VERSION=$(awk '
    /^name = / { name = $3 }
    /^version = / && name == "\"librocksdb-sys\"" { gsub(/"/, "", $3); print $3; exit }
' "$YIN_ROOT/Cargo.lock")
if [ -z "$YIN_ROCKSDB_VERSION" ]; then
    echo "deploy/env.sh: librocksdb-sys is not in $YIN_ROOT/Cargo.lock" >&2
    return 1
fi

# An operator's own archive wins; else the cached one.
ROCKSDB_LIB_DIR=${ROCKSDB_LIB_DIR:-$YIN_CACHE/rocksdb/$YIN_ROCKSDB_VERSION}
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$YIN_CACHE/target}
ROCKSDB_STATIC=1

export YIN_ROOT YIN_CACHE YIN_ROCKSDB_VERSION CARGO_TARGET_DIR ROCKSDB_LIB_DIR ROCKSDB_STATIC
