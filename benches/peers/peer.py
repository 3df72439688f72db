"""Times one side of the comparison in a process of its own; prints one JSON object.

python peer.py --peer official|spikingjelly --mode step|inference --network small --width 0.125 --time-steps 4
               --batch 64 --rule both --threads 2 --steps 10 --weights FILE [--official DIR] [--eager] [--device cuda:0] --json
"""

import argparse
import contextlib
import ctypes
import gc
import importlib.metadata
import json
import platform
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import torch
from torch.nn import functional

from spec import VOTERS, Case, paper_network

# The first calls compile, pick algorithms and grow the heap.
WARM_UP = 3


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    # Convolutions in 32-bit floats like all else, by the fastest of cuDNN's algorithms.
    torch.backends.cudnn.allow_tf32 = options.tf32
    torch.backends.cuda.matmul.allow_tf32 = options.tf32
    torch.backends.cudnn.benchmark = True
    make, versions = side(options)
    libraries_mb = peak_rss_mb()
    # Not as the default device of all that follows: that would cost each of the peers' calls a detour through Python.
    with torch.device(options.device):
        peer = make(paper_network(options.network, options.width), options.rule, options.time_steps)
    case = Case(options.weights, options.device)
    if case.input.shape[0] != options.batch:
        raise SystemExit(f"{options.weights} holds a batch of {case.input.shape[0]}, not --batch {options.batch}")

    if options.mode == "step":
        peer.train(case)
        result = check(peer, case, options.time_steps)
        forget(case)
        step_ms = measure(lambda: peer.step(case.input, case.labels), options.steps)
    else:
        peer.evaluate(case)
        outputs = peer.infer(case.input)
        if not outputs.any():
            raise SystemExit(f"no cell of the last layer fired: {options.weights} holds no trained network")
        targets = functional.one_hot(case.labels, outputs.shape[1]).float()
        loss = functional.mse_loss(outputs, targets).item()
        result = {"loss": loss, "flipped_votes": flipped_votes(outputs, case, options.time_steps)}
        del outputs, targets
        forget(case)
        step_ms = measure(lambda: peer.infer(case.input), options.steps)

    result |= {
        "ms_per_step": statistics.median(step_ms),
        "step_ms": step_ms,
        "peak_rss_mb": peak_rss_mb(),
        # Of the steps alone; results without this word hold the exchange file and the check as well.
        "peak_of": "steps",
        "libraries_rss_mb": libraries_mb,
        "configuration": peer.configuration + (", TF32" if options.tf32 else ""),
        "versions": versions,
    }
    if options.device != "cpu":
        result["peak_gpu_mb"] = torch.cuda.max_memory_allocated() / 2**20
        result["gpu"] = torch.cuda.get_device_name()
    print(json.dumps(result) if options.json else json.dumps(result, indent=2))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Times one side of the comparison.")
    parser.add_argument("--peer", choices=["official", "spikingjelly"], required=True)
    parser.add_argument("--mode", choices=["step", "inference"], required=True)
    parser.add_argument("--network", choices=["small", "middle", "large"], required=True)
    parser.add_argument("--width", type=float, required=True)
    parser.add_argument("--time-steps", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--rule", choices=["baseline", "spatial", "temporal", "both"], required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--weights", required=True, help="what `xtask bench step --save` wrote")
    parser.add_argument("--official", type=Path, help="a clone of Brain-Cog-Lab/BP-STA")
    parser.add_argument("--eager", action="store_true", help="SpikingJelly without torch.compile")
    parser.add_argument("--device", default="cpu", help="cpu or cuda:N")
    parser.add_argument("--tf32", action="store_true", help="on a GPU, products of 10-bit mantissas")
    parser.add_argument("--json", action="store_true", help="on one line")
    return parser.parse_args()


def side(options: argparse.Namespace) -> tuple:
    """What makes the peer of a network, a rule and T, and the versions behind it."""
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    if options.peer == "official":
        sys.path.append(str(options.official / "code"))
        from official import Official

        git = ["git", "-C", options.official, "rev-parse", "--short=12", "HEAD"]
        versions["official"] = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
        return Official, versions
    from jelly import Jelly

    versions["spikingjelly"] = importlib.metadata.version("spikingjelly")
    return partial(Jelly, eager=options.eager, gpu=options.device != "cpu"), versions


def check(peer, case: Case, time_steps: int) -> dict:
    """How far the first step lies from the one in the case; the parameters stay as they are."""
    outputs = peer.forward(case.input, case.masks)
    loss = peer.backward(outputs, case.labels).item()
    gradients = peer.gradients()
    squares = [((gradients[name] - one).square().sum(), one.square().sum()) for name, one in case.gradients.items()]
    distance, size = (sum(column).sqrt() for column in zip(*squares, strict=True))
    votes = flipped_votes(outputs, case, time_steps)
    return {"loss": loss, "flipped_votes": votes, "gradient_difference": (distance / size).item()}


def flipped_votes(outputs: torch.Tensor, case: Case, time_steps: int) -> int:
    """Spikes of the last layer that differ; each moves an output by 1 / (voters x time steps)."""
    return round((outputs - case.output).abs().sum().item() * time_steps * VOTERS)


def measure(call, steps: int) -> list[float]:
    """Wall-clock milliseconds of each of `steps` calls, after a few that do not count."""
    wait = torch.cuda.synchronize if torch.cuda.is_initialized() else contextlib.nullcontext
    for _ in range(WARM_UP):
        call()
    wait()
    step_ms = []
    for _ in range(steps):
        start = time.perf_counter()
        call()
        wait()
        step_ms.append(1e3 * (time.perf_counter() - start))
    return step_ms


def forget(case: Case) -> None:
    """Lets go of what only the check needed, so that memory counts as it does for our side, which starts without the exchange file.

    The largest resident set is counted anew from here on (Linux, `clear_refs` in proc(5)).
    """
    case.keep_data()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def peak_rss_mb() -> float:
    """Largest resident set of this process, in MiB, since it began or since `forget`."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
