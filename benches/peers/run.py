#!/usr/bin/env python3
"""Compares this repository with the authors' code and with SpikingJelly. Needs Linux, Python 3.11 or later with venv, git and Rust;
for SpikingJelly's faster mode also g++ and Python's headers.

It makes the peers' virtual environment, builds our side, and then, for each cell (network, width, T, rule):
all sides compute the same step and must agree; then they are timed in turn, each in a process of its own.
See README.md for what is compared and how; `--quick` takes a few minutes.
"""

import argparse
import dataclasses
import datetime
import importlib.util
import itertools
import json
import math
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from table import render

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# The versions that the committed results were measured with (on CPUs; on GPUs torch 2.11).
PACKAGES = ["torch==2.15.0", "torchvision==0.29.2", "spikingjelly==2.0.0", "safetensors==0.8.0", "numpy==2.4.6", "einops==0.8.2"]
OFFICIAL = "https://github.com/Brain-Cog-Lab/BP-STA"
OFFICIAL_COMMIT = "3feb1aaf9c123a80b11df0477ca8d4831eda45bb"
SIDES = ["ours", "official", "spikingjelly"]

# Batch by network, T and width: the official batches shrunk until the whole grid fits into an afternoon on two CPUs.
BATCHES = {
    ("small", 4): {0.125: 64, 0.25: 32, 1.0: 16},
    ("small", 16): {0.125: 64, 0.25: 16, 1.0: 4},
    ("middle", 4): {0.125: 64, 0.25: 32, 1.0: 16},
    ("middle", 16): {0.125: 32, 0.25: 16, 1.0: 4},
    ("large", 4): {0.125: 16, 0.25: 8, 1.0: 4},
    ("large", 16): {0.125: 8, 0.25: 4, 1.0: 2},
}
# On a GPU: the official batches, but for the large network.
GPU_BATCHES = {"small": 64, "middle": 64, "large": 16}
# Losses this close, relatively, are the same.
LOSS_TOLERANCE = 1e-4
# Another order of summation moves potentials by rounding, some of them across the threshold, and layers above multiply
# that. Up to 0.5 % of the last layer's spikes were seen to differ so, in the deepest network; batch norm over time and
# batch together makes 1.7 % differ, a decay of 0.89 makes it 1.3 %.
FLIPPED_VOTES = 0.01
# A process during which other programs took more than this share of the CPUs is started anew, so many starts in all:
# PyTorch's threads wait for each other, and one that is kept waiting stretches a step tenfold.
OTHER_LOAD, TRIES = 0.05, 4
# On a virtual machine a CPU was seen to take half as long again for everything, for seconds or minutes, as if another machine used its
# sibling. It counts as free within this of the fastest it was seen.
FREE = 1.1
# Timed steps of one process together; slow cells get fewer steps, and at least three.
TIMED_MS = 4000


@dataclasses.dataclass(frozen=True)
class Cell:
    """What is computed."""

    mode: str
    network: str
    width: float
    time_steps: int
    batch: int
    rule: str

    def __str__(self) -> str:
        return f"{self.mode} {self.network} width {self.width:g} T {self.time_steps} batch {self.batch} {self.rule}"

    def arguments(self) -> list[str]:
        named = {"network": self.network, "width": self.width, "time-steps": self.time_steps}
        named |= {"batch": self.batch, "rule": self.rule}
        return [word for name, value in named.items() for word in (f"--{name}", str(value))]


def main() -> int:
    options = parse()
    enough_cpus(options.threads)
    python = peers(options)
    program, commit = build(options)
    # What is built and installed may have all CPUs; what is timed has these.
    pin(options.threads)
    sides = Sides(options, python, program)
    options.output.mkdir(parents=True, exist_ok=True)
    device = {} if options.device == "cpu" else {"device": options.device, "tf32": options.tf32}
    results = Results(options.output / "results.json", device)
    for cell in cells(options):
        if results.has(cell):
            print(f"{cell}: measured before", file=sys.stderr)
            continue
        print(f"{cell}: ", end="", file=sys.stderr, flush=True)
        results.add(cell, measure(sides, cell, options) | {"commit": commit})
        print("done" if results.agrees(cell) else "THE SIDES DISAGREE", file=sys.stderr)
    text = render(results.content)
    (options.output / "results.md").write_text(text)
    print(text)
    return 0 if all(one["agrees"] for one in results.content["cells"].values()) else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", nargs="+", choices=["step", "inference"], default=["step", "inference"])
    parser.add_argument(
        "--network", nargs="+", choices=["small", "middle", "large"], default=["small", "middle", "large"]
    )
    parser.add_argument("--width", nargs="+", type=float, default=[0.125, 0.25, 1.0])
    parser.add_argument("--time-steps", nargs="+", type=int, default=[4, 16])
    rules = ["baseline", "spatial", "temporal", "both"]
    parser.add_argument("--rule", nargs="+", choices=rules, default=rules)
    parser.add_argument("--batch", type=int, help="of training steps, in place of the table's; inference has 1")
    parser.add_argument("--rounds", type=int, default=3, help="how often each side is started")
    parser.add_argument("--steps", type=int, default=30, help="timed steps of one process, at most")
    parser.add_argument("--threads", type=int, default=2, help="of each side, on as many CPUs")
    parser.add_argument("--patience", type=float, default=60, help="seconds to wait for free CPUs before a process is timed, at most")
    parser.add_argument("--device", default="cpu", help="cpu or cuda:N, then for all sides")
    parser.add_argument("--tf32", action="store_true", help="on a GPU, the peers' products of 10-bit mantissas; ours are of 32-bit floats")
    parser.add_argument("--xtask", type=Path, help="our program, if it is built; then give --commit too")
    parser.add_argument("--commit", help="of the program that --xtask names; recorded as unknown if not given")
    parser.add_argument("--quick", action="store_true", help="width 1/8, T = 4, rule both, 2 rounds")
    parser.add_argument("--eager", action="store_true", help="SpikingJelly without torch.compile")
    add_peers(parser)
    parser.add_argument("--output", type=Path, required=True, help="folder of results.json and results.md")
    options = parser.parse_args()
    if options.commit and not options.xtask:
        parser.error("--commit is for --xtask: what is built here is this checkout's commit")
    if options.quick:
        options.width, options.time_steps, options.rule, options.rounds = [0.125], [4], ["both"], 2
    return options


def cells(options: argparse.Namespace) -> list[Cell]:
    grid = []
    for network, width, time_steps in itertools.product(options.network, options.width, options.time_steps):
        if "step" in options.mode:
            on_cpu = BATCHES.get((network, time_steps), {}).get(width)
            batch = options.batch or (on_cpu if options.device == "cpu" else GPU_BATCHES[network])
            if batch is None:
                raise SystemExit(f"no batch is set for {network}, width {width}, T = {time_steps}: give --batch")
            grid += [Cell("step", network, width, time_steps, batch, rule) for rule in options.rule]
        if "inference" in options.mode:
            # The rules share their forward pass.
            grid.append(Cell("inference", network, width, time_steps, 1, options.rule[-1]))
    return grid


class Sides:
    """The three programs, ready to be started."""

    def __init__(self, options: argparse.Namespace, python: Path, program: Path):
        self.threads, self.eager, self.official = options.threads, options.eager, options.official
        self.python, self.yardstick = python, Yardstick()
        self.ours, self.device, self.tf32 = program, options.device, options.tf32
        self.patience = options.patience if self.device == "cpu" else 0
        # Compiled graphs are kept from process to process.
        compiled = {"TORCHINDUCTOR_CACHE_DIR": str(options.venv / "inductor")}
        # Memory that PyTorch frees stays with the process, instead of being faulted in again at each step.
        kept = {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "1099511627776"}
        kept["MALLOC_TOP_PAD_"] = "268435456"
        huge = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
        pinned = {"OMP_NUM_THREADS": str(self.threads)}
        self.environment = {
            # As .cargo/config.toml sets it for `cargo xtask`.
            "ours": {"RAYON_NUM_THREADS": "1"} | huge,
            "official": pinned,
            "spikingjelly": pinned | kept | huge | compiled,
        }

    def start(self, side: str, cell: Cell, steps: int, weights: Path, *, save: bool = False) -> dict:
        """Runs one process; its JSON, and how much of the CPUs others took meanwhile."""
        shared = [*cell.arguments(), "--threads", str(self.threads), "--steps", str(steps), "--json"]
        shared += ["--device", self.device]
        if side == "ours":
            command = [self.ours, "bench", cell.mode, *shared, *(["--save", weights] if save else [])]
        else:
            command = [self.python, HERE / "peer.py", "--peer", side, "--mode", cell.mode, *shared]
            command += ["--weights", weights, "--official", self.official, *(["--eager"] if self.eager else [])]
            command += ["--tf32"] if self.tf32 else []
        before = cpu_seconds()
        finished = subprocess.run(command, env=os.environ | self.environment[side], capture_output=True, text=True)
        if finished.returncode:
            raise SystemExit(f"{side} failed at {cell}:\n{finished.stderr[-3000:]}")
        return json.loads(finished.stdout.splitlines()[-1]) | {"other_load": other_load(before)}

    def start_alone(self, side: str, cell: Cell, steps: int, weights: Path) -> dict:
        """The least disturbed of a few processes, and what the yardstick took beside it."""
        tried = []
        while len(tried) < TRIES and (not tried or tried[-1]["other_load"] > OTHER_LOAD):
            before = self.yardstick.wait_for_free_cpus(self.patience)
            one = self.start(side, cell, steps, weights)
            tried.append(one | {"yardstick_ms": max(before, self.yardstick.measure())})
        return min(tried, key=lambda one: one["other_load"])


class Yardstick:
    """How fast the CPUs are at the moment, by the same loop on each of them at once."""

    def __init__(self):
        self.cpus = sorted(os.sched_getaffinity(0))
        self.pool = multiprocessing.Pool(len(self.cpus))
        self.fastest = math.inf

    def measure(self) -> float:
        """Milliseconds of the loop on the slowest CPU."""
        taken = self.pool.map(loop_ms, self.cpus, chunksize=1)
        self.fastest = min(self.fastest, *taken)
        return max(taken)

    def wait_for_free_cpus(self, seconds: float) -> float:
        """Waits until all CPUs are about as fast as one was seen, so many seconds at most; the last measure."""
        end = time.monotonic() + seconds
        while (taken := self.measure()) > FREE * self.fastest and time.monotonic() < end:
            time.sleep(0.5)
        return taken


def loop_ms(cpu: int) -> float:
    """Milliseconds of a loop on a CPU, the median of a few."""
    os.sched_setaffinity(0, [cpu])
    times = []
    for _ in range(5):
        start = time.perf_counter()
        sum(number * number for number in range(200_000))
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def measure(sides: Sides, cell: Cell, options: argparse.Namespace) -> dict:
    """Checks that the sides agree, then times them in turn."""
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "case.safetensors"
        check = {side: sides.start(side, cell, 3, weights, save=side == "ours") for side in SIDES}
        steps = {side: max(3, min(options.steps, int(TIMED_MS / one["ms_per_step"]))) for side, one in check.items()}
        rounds = []
        for turn in range(options.rounds):
            order = SIDES[turn % 3 :] + SIDES[: turn % 3]
            rounds.append({side: sides.start_alone(side, cell, steps[side], weights) for side in order})
    return {
        "cell": dataclasses.asdict(cell),
        "agrees": all(agree(cell, check["ours"], check[side]) for side in SIDES[1:]),
        "check": check,
        "rounds": rounds,
        "threads": options.threads,
        "date": now(),
    }


def agree(cell: Cell, ours: dict, peer: dict) -> bool:
    """Whether both computed the same, but for rounding."""
    near = abs(peer["loss"] - ours["loss"]) <= LOSS_TOLERANCE * abs(ours["loss"])
    votes = cell.batch * cell.time_steps * (110 if cell.network == "large" else 100)
    return near or peer.get("flipped_votes", votes) <= max(1, FLIPPED_VOTES * votes)


class Results:
    """All raw numbers, written after each cell, so that a killed comparison goes on where it was."""

    def __init__(self, path: Path, device: dict):
        self.path = path
        machine = {"cpu": cpu_model(), "cores": os.cpu_count(), "system": platform.platform()} | device
        self.content = {"machine": machine, "cells": {}}
        if path.exists():
            self.content = json.loads(path.read_text())
            if self.content["machine"] != machine:
                raise SystemExit(f"{path} was measured on {self.content['machine']}: choose another --output")

    def has(self, cell: Cell) -> bool:
        return str(cell) in self.content["cells"]

    def agrees(self, cell: Cell) -> bool:
        return self.content["cells"][str(cell)]["agrees"]

    def add(self, cell: Cell, measured: dict) -> None:
        self.content["cells"][str(cell)] = measured
        fresh = self.path.with_suffix(".tmp")
        fresh.write_text(json.dumps(self.content, indent=1))
        fresh.replace(self.path)


def add_peers(parser: argparse.ArgumentParser) -> None:
    """The options that say where the peers are."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "bpsta-peers"
    parser.add_argument("--venv", type=Path, default=cache / "venv", help="made where it is missing")
    parser.add_argument("--official", type=Path, default=cache / "official", help=f"a clone of {OFFICIAL}; made if missing")


def peers(options: argparse.Namespace) -> Path:
    """Python with the packages, and the authors' code; made where they are missing."""
    make_venv(options.venv, PACKAGES)
    if not options.official.exists():
        run(["git", "clone", OFFICIAL, options.official])
        run(["git", "-C", options.official, "checkout", "--quiet", "--detach", OFFICIAL_COMMIT])
    there = run(["git", "-C", options.official, "rev-parse", "HEAD"]).strip()
    if there != OFFICIAL_COMMIT:
        print(f"note: {options.official} is at {there[:12]}; the committed results are of {OFFICIAL_COMMIT[:12]}", file=sys.stderr)
    return options.venv / "bin" / "python"


def make_venv(folder: Path, packages: list[str]) -> None:
    """Makes the virtual environment where it is missing or lacks one of the packages; says which of them have another version."""
    python = folder / "bin" / "python"
    wanted = dict(one.split("==") for one in packages)
    if not python.exists() or subprocess.run([python, "-c", f"import {', '.join(wanted)}"]).returncode:
        if importlib.util.find_spec("ensurepip") is None:
            raise SystemExit(f"{sys.executable} can make no virtual environment: install venv (on Debian and Ubuntu the package python3-venv)")
        run([sys.executable, "-m", "venv", folder])
        run([python, "-m", "pip", "install", *packages])
    for name, version in versions(python, packages).items():
        # What stands behind a plus says for which GPUs PyTorch was built.
        if version.split("+")[0] != wanted[name]:
            print(f"note: {folder} has {name} {version}; the committed results are of {wanted[name]}", file=sys.stderr)


def versions(python: Path, packages: list[str]) -> dict[str, str]:
    """The versions that an environment has of the packages."""
    names = [one.split("==")[0] for one in packages]
    code = f"import json, importlib.metadata as m; print(json.dumps({{name: m.version(name) for name in {names!r}}}))"
    return json.loads(run([python, "-c", code]))


def build(options: argparse.Namespace) -> tuple[Path, str]:
    """Our program and its commit."""
    if options.xtask:
        return options.xtask, options.commit or "unknown"
    return built(*(["--features", "cuda"] if options.device != "cpu" else []))


def built(*features: str) -> tuple[Path, str]:
    """This checkout's program and its commit, which is asked for before it is built: who goes on working meanwhile changes the checkout."""
    commit = checkout()
    run(["cargo", "build", "--package", "xtask", *features], cwd=ROOT)
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug" / "xtask", commit


def checkout() -> str:
    """The commit of this checkout, with a word where files differ from it."""
    return run(["git", "describe", "--always", "--dirty"], cwd=ROOT).strip()


def now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def enough_cpus(threads: int) -> None:
    """Refuses more threads than there are CPUs: they would wait for each other."""
    there = len(os.sched_getaffinity(0))
    if threads > there:
        raise SystemExit(f"--threads {threads} needs as many CPUs, and this process may use {there}")


def pin(threads: int) -> None:
    """Leaves so many CPUs to this process and those that it starts; see `enough_cpus`."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def cpu_seconds() -> tuple[float, float, float]:
    """Of the CPUs that this process is pinned to: seconds of its children, seconds of everyone, and seconds that there were."""
    times = os.times()
    pinned = [f"cpu{cpu}" for cpu in os.sched_getaffinity(0)]
    rows = [line.split() for line in Path("/proc/stat").read_text().splitlines()]
    used = 0.0
    for user, nice, system, _, _, interrupt, soft, steal in (row[1:9] for row in rows if row[0] in pinned):
        used += sum(map(int, [user, nice, system, interrupt, soft, steal])) / os.sysconf("SC_CLK_TCK")
    return times.children_user + times.children_system, used, time.monotonic() * len(pinned)


def other_load(before: tuple[float, float, float]) -> float:
    """How much of the pinned CPUs others than this process's children took since then."""
    children, everyone, there = (now - start for now, start in zip(cpu_seconds(), before, strict=True))
    return max(0.0, everyone - children) / there


def cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def run(command: list, **options) -> str:
    """Standard output of a command that must succeed."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **options).stdout


if __name__ == "__main__":
    sys.exit(main())
