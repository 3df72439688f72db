#!/usr/bin/env bash
# Type-checks the CUDA build where there is no GPU and no CUDA toolkit: takes the compiler and headers from Python wheels.
# Needs python3 with venv. First argument: a folder for wheels and build outputs (default: a new temporary one).
set -euo pipefail
root="$(cd "$(dirname "$0")/../.." && pwd)"
folder="${1:-$(mktemp -d)}"

if [ ! -x "$folder/venv/bin/python" ]; then
    python3 -m venv "$folder/venv"
fi
"$folder/venv/bin/pip" install --quiet \
    nvidia-cuda-nvcc nvidia-nvvm nvidia-cuda-crt nvidia-cuda-runtime nvidia-cuda-cccl nvidia-cuda-nvrtc
toolkit="$(find "$folder/venv" -type d -path '*/nvidia/cu13' | head -n 1)"
if [ ! -x "$toolkit/bin/nvcc" ]; then
    echo "no nvcc under $folder/venv: the wheels have changed their layout" >&2
    exit 1
fi

export CUDA_ROOT="$toolkit" CUDA_HOME="$toolkit" CUDA_PATH="$toolkit" PATH="$toolkit/bin:$PATH"
# The oldest GPU that the kernels of candle are built for, and the version of the wheels' interface.
export CUDA_COMPUTE_CAP="${CUDA_COMPUTE_CAP:-80}" CUDARC_CUDA_VERSION="${CUDARC_CUDA_VERSION:-13010}"
cd "$root"
cargo check --package xtask --features cuda --target-dir "$folder/target"
echo "the CUDA build type-checks; nothing has run on a GPU"
