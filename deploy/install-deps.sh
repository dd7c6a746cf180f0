#!/usr/bin/env bash
# Installs what the build needs from the system and is missing, and says what it does.
#
#   deploy/install-deps.sh        to build and run: C and C++ compilers, libclang (bindgen reads
#                                 RocksDB's headers with it), make; for the tests that cut power
#                                 and fill disks: mount, e2fsprogs, python3; for syncs that fail
#                                 in jepsen: strace
#   deploy/install-deps.sh --ci   also the linters of .ci/run
#
# Debian and its descendants only (apt-get, as root or through sudo). Rust is not installed: get it
# from https://rustup.rs; rust-toolchain.toml names the version.
set -euo pipefail

packages=(ca-certificates clang e2fsprogs g++ git libclang-dev make mount python3 strace)
if [ "${1:-}" = "--ci" ]; then
    packages+=(python3-venv shellcheck systemd)
elif [ $# -gt 0 ]; then
    echo "usage: deploy/install-deps.sh [--ci]" >&2
    exit 2
fi

if ! command -v cargo >/dev/null; then
    echo "install-deps: cargo is missing: install Rust from https://rustup.rs and try again" >&2
    exit 1
fi

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    # Not Debian: go on if the tools are there under whatever package names.
    for tool in clang clang++ g++ make; do
        if ! command -v "$tool" >/dev/null; then
            echo "install-deps: '$tool' is missing and this system has no apt-get." >&2
            echo "install-deps: install clang, libclang (development files), g++ and make by hand." >&2
            exit 1
        fi
    done
    echo "install-deps: no apt-get here; compilers are present, libclang is taken on trust"
    exit 0
fi

missing=()
for package in "${packages[@]}"; do
    status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
    echo "install-deps: all there (${packages[*]})"
    exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "install-deps: missing: ${missing[*]}. Neither root nor sudo: run as root" >&2
        echo "    apt-get install -y --no-install-recommends ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi

echo "install-deps: installing ${missing[*]} with apt-get"
apt=(env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -q)
"${as_root[@]}" "${apt[@]}" update
"${as_root[@]}" "${apt[@]}" install -y --no-install-recommends "${missing[@]}"
