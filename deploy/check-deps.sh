#!/usr/bin/env bash
# The dependency tree: licences, banned crates and sources (cargo-deny, deny.toml), and what is
# declared but not used (cargo-machete). Installs the two once into $YIN_CACHE/tools.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$YIN_ROOT"

deny_version=0.20.2
machete_version=0.9.2
tools=$YIN_CACHE/tools
export PATH=$tools/bin:$PATH

# Debug builds: they compile in half the time, and the tools run for a second.
install_tool() {
    local name=$1 version=$2
    if ! "$tools/bin/$name" --version 2>/dev/null | grep -qF " $version"; then
        echo "check-deps: installing $name $version into $tools"
        cargo install --locked --debug --root "$tools" --target-dir "$tools/build" \
            "$name@$version"
        rm -rf "$tools/build"
    fi
}

install_tool cargo-deny "$deny_version"
install_tool cargo-machete "$machete_version"

# Both look at every platform's crates; the build has fetched this one's only.
cargo fetch --locked
cargo deny --locked --offline --all-features check bans licenses sources
# With metadata, since some crates are imported under another name than their package has.
cargo machete --with-metadata
