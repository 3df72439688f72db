#!/usr/bin/env bash
# Builds the program and its tests for NVIDIA GPUs where there is neither a GPU nor a CUDA toolkit: takes the compiler, headers and libraries
# from Python wheels, and links against a stand-in for the driver, which comes with the GPU.
# Needs Linux, Rust, python3 with venv, a C compiler (cc) and g++, which nvcc calls. First argument: a folder for wheels and build outputs (default: a new temporary one).
# CUDA (13.0 if not set) is the toolkit's version, of 13: the driver must not be older. CUDA_COMPUTE_CAP (80) is the oldest GPU that candle's kernels
# are built for; ours are compiled when the program runs.
set -euo pipefail
root="$(cd "$(dirname "$0")/../.." && pwd)"
folder="${1:-$(mktemp -d)}"
mkdir -p "$folder/driver"
folder="$(cd "$folder" && pwd)"
version="${CUDA:-13.0}"

if [ ! -x "$folder/venv/bin/python" ]; then
    python3 -m venv "$folder/venv"
fi
"$folder/venv/bin/pip" install --quiet \
    "nvidia-cuda-nvcc==$version.*" "nvidia-nvvm==$version.*" "nvidia-cuda-crt==$version.*" "nvidia-cuda-runtime==$version.*" \
    "nvidia-cuda-cccl==$version.*" "nvidia-cuda-nvrtc==$version.*" "nvidia-cublas==$version.*" nvidia-curand
toolkit="$(find "$folder/venv" -type d -path '*/nvidia/cu13' | head -n 1)"
if [ ! -x "$toolkit/bin/nvcc" ]; then
    echo "no nvcc under $folder/venv: the wheels have changed their layout" >&2
    exit 1
fi
# The wheels hold libraries under the names that programs load them by, and not those that linkers look for.
for library in "$toolkit"/lib/lib*.so.*; do
    ln -sf "$(basename "$library")" "${library%%.so.*}.so"
done

export CUDA_ROOT="$toolkit" CUDA_HOME="$toolkit" CUDA_PATH="$toolkit" PATH="$toolkit/bin:$PATH"
export CUDA_COMPUTE_CAP="${CUDA_COMPUTE_CAP:-80}" CUDARC_CUDA_VERSION="${version%.*}0${version#*.}0"
export LIBRARY_PATH="$toolkit/lib:$folder/driver${LIBRARY_PATH:+:$LIBRARY_PATH}"
cd "$root"
# Every function of the driver that the bindings name, as one that does nothing.
host="$(rustc -vV | sed -n 's/^host: //p')"
cargo metadata --format-version 1 --features xtask/cuda --filter-platform "$host" | python3 -c '
import json, pathlib, re, sys
packages = {one["name"]: one for one in json.load(sys.stdin)["packages"]}
bindings = pathlib.Path(packages["cudarc"]["manifest_path"]).parent / "src/driver/sys/mod.rs"
for name in sorted(set(re.findall(r"fn (cu[A-Z]\w*)", bindings.read_text()))):
    print(f"void {name}(void) {{}}")
' >"$folder/driver/driver.c"
cc -shared -o "$folder/driver/libcuda.so" -Wl,-soname,libcuda.so.1 "$folder/driver/driver.c"
cargo build --package xtask --features cuda --target-dir "$folder/target"
cargo test --package bpsta-spiking --features cuda --target-dir "$folder/target" --no-run

cat <<END
built: $folder/target/debug/xtask, and the tests named above; nothing has run on a GPU.
Where there is one: LD_LIBRARY_PATH=$toolkit/lib (or that machine's own), then
    xtask bench step --device cuda:0
END
