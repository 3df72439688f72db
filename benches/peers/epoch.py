#!/usr/bin/env python3
"""Times one epoch of the paper's small network, at full width and T = 4, on all of real MNIST: our engine, then PyTorch with the authors' code.

Needs what run.py needs and an imported MNIST (`cargo xtask data import mnist`). Both sides train and test the configuration in epoch.toml, from initial
weights, an order and dropout masks of their own, so that accuracies are near each other and not equal. `--output` gets epoch.json; a side that
stands there is not timed again, and another commit's file is refused. Leave the machine alone meanwhile: the official side takes half an hour and more.
"""

import argparse
import json
import os
import sys
import tomllib
from pathlib import Path

from agreement import write
from run import ROOT, add_peers, built, checkout, cpu_model, cpu_seconds, enough_cpus, now, other_load, peers, pin, run

HERE = Path(__file__).resolve().parent


def main() -> int:
    options = parse()
    enough_cpus(options.threads)
    [cell] = tomllib.loads((HERE / "epoch.toml").read_text())["profile"]["cpu"]["cell"]
    head = {"cpu": cpu_model(), "threads": options.threads, "batch": cell["batch_size"], "commit": checkout()}
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "epoch.json"
    content = json.loads(path.read_text()) if path.exists() else head | {"rules": {}}
    for key, value in head.items():
        if content.get(key) != value:
            raise SystemExit(f"{path} has {key} {content.get(key)}, not {value}: choose another --output")
    python = peers(options)
    built()
    # What is built and installed may have all CPUs; what is timed has these.
    pin(options.threads)
    for rule in options.rule:
        sides = content["rules"].setdefault(rule, {})
        store = options.output.resolve() / "runs"
        if "ours" not in sides:
            sides["ours"] = alone(lambda: ours(store, rule, options))
            write(path, json.dumps(content, indent=1) + "\n")
        if "official" not in sides:
            sides["official"] = alone(lambda: official(python, record_of(store, rule)[0], options))
            write(path, json.dumps(content, indent=1) + "\n")
        mine, theirs = sides["ours"], sides["official"]
        ratio = theirs["train_seconds"] / mine["train_seconds"]
        for side, one in sides.items():
            text = f"trained in {one['train_seconds']:.0f} s, tested in {one['test_seconds']:.0f} s: {one['accuracy']:.2f} %"
            print(f"{rule}, {side}: {text}; other load {one['other_load']:.0%}")
        print(f"{rule}: training takes the official code {ratio:.2f} times as long")
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    rules = ["baseline", "spatial", "temporal", "both"]
    parser.add_argument("--rule", nargs="+", choices=rules, default=["both"])
    parser.add_argument("--threads", type=int, default=2, help="of each side, on as many CPUs")
    parser.add_argument("--data", type=Path, default=Path("data"), help="where `cargo xtask data import` put it")
    add_peers(parser)
    parser.add_argument("--output", type=Path, required=True, help="folder of epoch.json, and of our run")
    return parser.parse_args()


def ours(store: Path, rule: str, options: argparse.Namespace) -> dict:
    command = ["cargo", "xtask", "run", HERE / "epoch.toml", "--profile", "cpu", "--rule", rule]
    run([*command, "--threads", str(options.threads), "--data", options.data.resolve(), "--results", store], cwd=ROOT)
    _, record = record_of(store, rule)
    counts = zip(["train", "test"], record["samples"], strict=True)
    seconds = {f"{split}_seconds": record[f"{split}_ms_per_sample"] * count / 1000 for split, count in counts}
    return seconds | {"accuracy": record["accuracy"]["last"], "run_id": record["run_id"]}


def record_of(store: Path, rule: str) -> tuple[Path, dict]:
    """Our run of a rule."""
    for file in store.glob("*/record.json"):
        record = json.loads(file.read_text())
        if record["rule"] == rule:
            return file, record
    raise SystemExit(f"{store} has no run of {rule}: remove epoch.json, or choose another --output")


def official(python: Path, record: Path, options: argparse.Namespace) -> dict:
    command = [python, HERE / "agreement_peer.py", "--record", record, "--data", options.data]
    command += ["--official", options.official, "--threads", str(options.threads)]
    peer = json.loads(run(command, env=os.environ | {"OMP_NUM_THREADS": str(options.threads)}).splitlines()[-1])
    seconds = {key: peer[key][0] for key in ["train_seconds", "test_seconds"]}
    return seconds | {"accuracy": peer["accuracy"], "torch": peer["torch"]}


def alone(side) -> dict:
    """A side's numbers, and how much of the CPUs others took meanwhile."""
    before = cpu_seconds()
    return side() | {"other_load": other_load(before), "date": now()}


if __name__ == "__main__":
    sys.exit(main())
