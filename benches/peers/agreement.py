#!/usr/bin/env python3
"""Trains our finished runs once more with PyTorch and the authors' neurons, and compares accuracies and firing rates over seeds.

Needs Linux, Python 3.11 or later with venv, and git: PyTorch goes into `--venv`, the authors' code into `--official`. Each record of MNIST, CIFAR10
or N-MNIST under `--records` that `--dataset`, `--width` and `--time-steps` ask for is one run on either side; one that PyTorch could not train as it was
(an ANN twin, other constants of the neuron, another framing, ANN warm-up, augmentation, a validation split) is named and left out. Network, T,
schedule, epochs and batch are the record's; initial weights, order and dropout are each side's own draws, so that only distributions can agree.
`--output` gets agreement.json, run by run as they finish, and agreement.md. Where one of our runs was made again, by a newer version of our code, the
old one gives way and PyTorch's stays: it depends on the configuration alone.
"""

import argparse
import concurrent.futures
import functools
import itertools
import json
import math
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

from records import unlike
from run import add_peers, cpu_model, peers

HERE = Path(__file__).resolve().parent
MEASURES = {"accuracy": "accuracy, last epoch, %", "best_test": "accuracy, best test epoch, %", "firing_rate": "firing rate"}
# Seeds below which intervals are shown and not judged.
FEWEST = 5


def main() -> int:
    options = parse()
    python = peers(options)
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "agreement.json"
    content = json.loads(path.read_text()) if path.exists() else {"runs": {}}
    content["python"] = platform.python_version()

    records = {record["run_id"]: (file, record) for file, record in read(options)}
    content["runs"] = renewed(content["runs"], {run_id: record for run_id, (_, record) in records.items()})
    trained = {canonical(run["configuration"]) for run in content["runs"].values()}
    if not records and not content["runs"]:
        raise SystemExit("no record is asked for: see --dataset, --width and --time-steps")
    missing = [run_id for run_id, (_, record) in records.items() if canonical(configuration(record)) not in trained]

    def train(run_id: str) -> tuple[str, dict]:
        command = [python, HERE / "agreement_peer.py", "--record", records[run_id][0], "--data", options.data]
        command += ["--official", options.official, "--threads", "1"]
        finished = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
        if finished.returncode:
            raise SystemExit(f"PyTorch failed at {records[run_id][0]}:\n{finished.stderr[-3000:]}")
        return run_id, json.loads(finished.stdout.splitlines()[-1]) | {"cpu": cpu_model()}

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for run_id, peer in pool.map(train, missing):
            ours = summary(records[run_id][1])
            content["runs"][run_id] = {"configuration": configuration(records[run_id][1]), "ours": ours, "peer": peer}
            write(path, json.dumps(content, indent=1) + "\n")
            print(f"{run_id}: {name(content['runs'][run_id]['configuration'])}", file=sys.stderr)
    text, agrees = render(content)
    write(options.output / "agreement.md", text)
    print(text)
    return 0 if agrees else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=Path, nargs="+", required=True, help="results/ARTEFACT/PROFILE/records, or a run store")
    parser.add_argument("--dataset", nargs="+", choices=["mnist", "cifar10", "nmnist"], default=["mnist", "nmnist"], help="of real data [default: mnist nmnist]")
    parser.add_argument("--width", nargs="+", type=float, default=[0.125], help="[default: 0.125]")
    parser.add_argument("--time-steps", nargs="+", type=int, default=[4, 8], help="[default: 4 8]")
    parser.add_argument("--data", type=Path, default=Path("data"), help="where `cargo xtask data import` put them")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs side by side, a thread each")
    add_peers(parser)
    parser.add_argument("--output", type=Path, required=True, help="folder of agreement.json and agreement.md")
    return parser.parse_args()


def read(options: argparse.Namespace):
    """The records that are asked for, of each configuration the newest version's; the seeds of all rules side by side, so that a stopped call
    has seen each rule."""
    found = {}
    for folder in options.records:
        for file in [*folder.glob("*.json"), *folder.glob("*/record.json")]:
            record = json.loads(file.read_text())
            wanted = record["dataset"] in options.dataset and record["width"] in options.width
            if wanted and record["time_steps"] in options.time_steps and not record["synthetic"]:
                if differs := unlike(record["config"]):
                    print(f"left out: {file}: {'; '.join(differs)}", file=sys.stderr)
                    continue
                one = found.setdefault(canonical(configuration(record)), (file, record))
                if one[1]["config"]["code_version"] < record["config"]["code_version"]:
                    found[canonical(configuration(record))] = (file, record)
    return sorted(found.values(), key=lambda one: (one[1]["dataset"], one[1]["time_steps"], one[1]["seed"], one[1]["rule"]))


def configuration(record: dict) -> dict:
    """All that the peer's run depends on."""
    keys = ["dataset", "data", "network", "layers", "width", "time_steps", "rule"]
    of_training = ["epochs", "seed", "batch_size", "weight_decay", "schedule"]
    return {key: record[key] for key in keys} | {key: record["config"][key] for key in of_training}


def canonical(configuration: dict) -> str:
    return json.dumps(configuration, sort_keys=True)


def renewed(runs: dict, records: dict) -> dict:
    """The runs, each with the record of its configuration in place of an older one's."""
    given = {canonical(configuration(record)): record for record in records.values()}
    result = {}
    for run_id, run in runs.items():
        record = given.get(canonical(run["configuration"]))
        if record and record["config"]["code_version"] >= run["ours"]["code_version"]:
            run_id, run = record["run_id"], run | {"ours": summary(record)}
        result[run_id] = run
    return result


def name(one: dict) -> str:
    text = f"{one['data']}; {one['network']} width {one['width']:g}, T = {one['time_steps']}, {one['epochs']} epochs, {one['rule']}"
    return f"{text}, seed {one['seed']}"


def summary(record: dict) -> dict:
    accuracy = record["accuracy"]
    measures = {"accuracy": accuracy["last"], "best_test": accuracy["best_test"], "firing_rate": record["firing_rate"]}
    return measures | {"code_version": record["config"]["code_version"]}


def render(content: dict) -> tuple[str, bool]:
    """The tables, and whether all intervals overlap."""
    versions = sorted({one["peer"]["torch"] for one in content["runs"].values()})
    ours = sorted({str(one["ours"]["code_version"]) for one in content["runs"].values()})
    text = [
        "# Our runs beside PyTorch's",
        "",
        f"The same networks, data, schedule and number of seeds, trained by our CPU engine (code version {', '.join(ours)}) and by PyTorch {', '.join(versions)} with the",
        "authors' neurons, dropout, vote and loss (`temporal`: their baseline's node and the paper's Equation 10). Mean over seeds with the 95 % interval of the mean",
        "by Student's t, and the difference with Welch's. The draws of initial weights, order and dropout are each side's own. Narrow networks, and",
        "subsets where the heading says so: the numbers compare the two programs, and say nothing about the paper's.",
        "",
    ]
    agrees = True
    group = lambda one: tuple(one["configuration"][key] for key in ["data", "network", "width", "time_steps", "epochs"])
    runs = sorted(content["runs"].values(), key=group)
    for (data, network, width, steps, epochs), of_group in itertools.groupby(runs, key=group):
        text += [f"## {data}; {network} width {width:g}, T = {steps}, {epochs} epochs", ""]
        text += ["| rule | seeds | measure | ours | PyTorch | difference | overlap |", "|---|---|---|---|---|---|---|"]
        of_group = list(of_group)
        for rule in ["baseline", "spatial", "temporal", "both"]:
            of_rule = [one for one in of_group if one["configuration"]["rule"] == rule]
            for key, words in MEASURES.items() if of_rule else []:
                ours, peer = ([one[side][key] for one in of_rule] for side in ["ours", "peer"])
                a, b = interval(ours), interval(peer)
                low, high = difference(ours, peer)
                overlap = a[0] <= b[1] and b[0] <= a[1]
                enough = len(ours) >= FEWEST
                agrees &= overlap or not enough
                digits = 4 if key == "firing_rate" else 2
                form = lambda values, of: f"{statistics.mean(values):.{digits}f} ({of[0]:.{digits}f} to {of[1]:.{digits}f})"
                apart = f"{statistics.mean(ours) - statistics.mean(peer):+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"
                verdict = ("yes" if overlap else "NO") if enough else "too few seeds"
                text.append(f"| {rule} | {len(ours)} | {words} | {form(ours, a)} | {form(peer, b)} | {apart} | {verdict} |")
        text.append("")
    return "\n".join(text), agrees


def interval(values: list[float]) -> tuple[float, float]:
    """95 % of the mean, by Student's t."""
    if len(values) < 2:
        return values[0], values[0]
    half = student(len(values) - 1) * math.sqrt(statistics.variance(values) / len(values))
    return statistics.fmean(values) - half, statistics.fmean(values) + half


def difference(ours: list[float], peer: list[float]) -> tuple[float, float]:
    """95 % of the difference of means, by Welch's t: the seeds of the sides share nothing."""
    apart = statistics.fmean(ours) - statistics.fmean(peer)
    if min(len(ours), len(peer)) < 2:
        return apart, apart
    shares = [statistics.variance(values) / len(values) for values in (ours, peer)]
    if sum(shares) == 0:
        return apart, apart
    freedom = sum(shares) ** 2 / sum(share**2 / (len(values) - 1) for share, values in zip(shares, (ours, peer)))
    half = student(freedom) * math.sqrt(sum(shares))
    return apart - half, apart + half


@functools.cache
def student(freedom: float) -> float:
    """The 97.5th percentile of Student's t: Simpson's rule over its density, halved until the area is 0.475."""
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi)
    density = lambda t: scale * (1 + t * t / freedom) ** (-(freedom + 1) / 2)

    def area(to: float, parts: int = 500) -> float:
        inner = sum((4 if part % 2 else 2) * density(to * part / parts) for part in range(1, parts))
        return (density(0) + inner + density(to)) * to / parts / 3

    low, high = 0.0, 20.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if area(middle) < 0.475 else (low, middle)
    return low


def write(path: Path, text: str) -> None:
    fresh = path.with_suffix(".tmp")
    fresh.write_text(text)
    fresh.replace(path)


if __name__ == "__main__":
    sys.exit(main())
