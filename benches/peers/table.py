"""The Markdown report of results.json, which `python3 table.py FOLDER...` renders anew from what lies there."""

import json
import statistics
import sys
from functools import partial
from pathlib import Path

HEADS = ["network", "width", "T", "batch", "rule", "ours ms", "official ms", "SJ ms", "official / ours, time", "SJ / ours, time"]
HEADS += ["official / ours, fastest", "SJ / ours, fastest"]
HEADS += ["ours MiB", "official MiB", "SJ MiB", "official / ours, memory", "SJ / ours, memory"]
HEADS += ["loss off by", "votes flipped", "gradient off by", "other load", "slowed"]

PEERS = ["official", "spikingjelly"]
RANGE_HEADS = ["what", "width", "T", "cells", "official / ours, time", "SJ / ours, time"]
RANGE_HEADS += ["official / ours, fastest", "SJ / ours, fastest"]
RANGE_HEADS += ["official / ours, memory", "SJ / ours, memory"]


def render(content: dict) -> str:
    """Medians, ratios and what they were measured on."""
    cells = list(content["cells"].values())
    loop = min((loop for one in cells for loop in _loops(one["rounds"])), default=0)
    machine = content["machine"]
    gpu = cells[0]["check"]["official"].get("gpu")
    lines = [
        f"# {f'Ours on {gpu}' if gpu else 'The CPU engine'} beside the official code and SpikingJelly",
        "",
        f"{machine['cpu']}, {machine['cores']} CPUs, {machine['system']}; "
        f"{_all(one['threads'] for one in cells)} threads on as many CPUs. "
        f"Measured {min(one['date'] for one in cells)} to {max(one['date'] for one in cells)}, "
        f"commit {_all(one['commit'] for one in cells)}.",
        "",
        *(f"- {side}: {_all(_about(one['check'][side]) for one in cells)}" for side in cells[0]["check"]),
        "",
        "ms: median over rounds of a process's median. Ratios: median over rounds of the ratio within a round; above 1 "
        f"ours is faster or smaller; fastest: of the fastest step of all rounds, of each round as many first steps on either side. MiB: {_memory_about(cells)}. The last columns "
        "say how far the peers (official, SJ) lie from ours before the first update, and the largest share of the CPUs "
        "that other programs took while a side ran: a row where that is not near 0 is not worth much. Slowed: how much longer a "
        "fixed loop took on the slowest CPU, just before or behind a side, than beside the least disturbed process. Where that is not near "
        "0 % something outside slowed the machine, another one on the same host perhaps, and the fastest steps say more."
        + (" Votes and gradients are held against our CPU engine's, losses against the GPU's." if gpu else ""),
    ]
    lines += ["", "## In short", "", _line(RANGE_HEADS), _line("---" for _ in RANGE_HEADS), *map(_line, _ranges(cells))]
    for mode, title in [("step", "Training step"), ("inference", "Inference")]:
        rows = [_row(one, loop) for one in cells if one["cell"]["mode"] == mode]
        if rows:
            lines += ["", f"## {title}", "", _line(HEADS), _line("---" for _ in HEADS), *map(_line, rows)]
    return "\n".join(lines) + "\n"


def _ranges(cells: list) -> list[list[str]]:
    """The smallest and the largest ratio of all networks and rules of the same width and T."""
    groups = {}
    for one in cells:
        cell = one["cell"]
        groups.setdefault((cell["mode"], cell["width"], cell["time_steps"]), []).append(one["rounds"])

    def spread(group: list, ratio, side: str) -> str:
        ratios = [ratio(rounds, side) for rounds in group]
        return f"{min(ratios):.1f} to {max(ratios):.1f}"

    pairs = [(ratio, side) for ratio in [partial(_ratio, _time), _fastest_ratio, partial(_ratio, _memory)] for side in PEERS]
    order = sorted(groups.items(), key=lambda one: (one[0][0] != "step", *one[0][1:]))
    return [
        [mode, f"{width:g}", str(time_steps), str(len(group)), *(spread(group, *pair) for pair in pairs)]
        for (mode, width, time_steps), group in order
    ]


def _ratio(of, rounds: list, side: str) -> float:
    return statistics.median(of(turn[side]) / of(turn["ours"]) for turn in rounds)


def _fastest_ratio(rounds: list, side: str) -> float:
    """Of as many steps on either side: the side with more of them would find the quieter moment."""

    def fastest(of: str) -> float:
        counts = [min(len(turn[one]["step_ms"]) for one in ["ours", side]) for turn in rounds]
        return min(min(turn[of]["step_ms"][:count]) for turn, count in zip(rounds, counts, strict=True))

    return fastest(side) / fastest("ours")


def _row(one: dict, loop: float) -> list[str]:
    cell, check, rounds = one["cell"], one["check"], one["rounds"]

    def median(of, side: str) -> float:
        return statistics.median(of(turn[side]) for turn in rounds)

    def pair(text) -> str:
        return ", ".join(text(check[side]) for side in PEERS)

    ours, loops = check["ours"]["loss"], _loops(rounds)
    return [
        *(cell["network"], f"{cell['width']:g}", str(cell["time_steps"]), str(cell["batch"]), cell["rule"]),
        *(f"{median(_time, side):.3g}" for side in ["ours", *PEERS]),
        *(f"{_ratio(_time, rounds, side):.2f}" for side in PEERS),
        *(f"{_fastest_ratio(rounds, side):.2f}" for side in PEERS),
        *(f"{median(_memory, side):.0f}" for side in ["ours", *PEERS]),
        *(f"{_ratio(_memory, rounds, side):.2f}" for side in PEERS),
        pair(lambda peer: f"{abs(peer['loss'] / ours - 1):.0e}") + ("" if one["agrees"] else " **disagree**"),
        pair(lambda peer: str(peer.get("flipped_votes", "-"))),
        pair(lambda peer: f"{peer['gradient_difference']:.0e}" if "gradient_difference" in peer else "-"),
        f"{max(side['other_load'] for turn in rounds for side in turn.values()):.0%}",
        f"{max(loops) / loop - 1:.0%}" if loops else "-",
    ]


def _loops(rounds: list) -> list[float]:
    """What the yardstick took beside each process; it came later than some results."""
    return [side["yardstick_ms"] for turn in rounds for side in turn.values() if "yardstick_ms" in side]


def _about(result: dict) -> str:
    if "versions" not in result:
        kernels = f"kernels for {result['simd']}" if result["simd"] else "candle's operations alone"
        return f"engine {result['engine']}, {kernels}"
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return f"{versions}; {result['configuration']}"


def _time(measured: dict) -> float:
    return measured["ms_per_step"]


def _memory(measured: dict) -> float:
    """The memory that a side is judged by: the GPU's where it ran there."""
    return measured["peak_gpu_mb" if measured.get("gpu") else "peak_rss_mb"]


def _memory_about(cells: list) -> str:
    if "gpu" in cells[0]["check"]["official"]:
        return "the most that tensors held of the GPU's memory at once"
    libraries = f"{_libraries(cells, 'official')} (official) and {_libraries(cells, 'spikingjelly')} (SJ)"
    of_check = "" if all("peak_of" in one["check"]["official"] for one in cells) else " (of the peers with the exchange file of the check in memory)"
    return f"largest resident set{of_check}, of which importing PyTorch and its like takes {libraries}"


def _libraries(cells: list, side: str) -> str:
    return f"{statistics.median(one['check'][side]['libraries_rss_mb'] for one in cells):.0f} MiB"


def _all(values) -> str:
    return " and ".join(sorted({str(value) for value in values}))


def _line(fields) -> str:
    return f"| {' | '.join(fields)} |"


if __name__ == "__main__":
    for folder in map(Path, sys.argv[1:]):
        (folder / "results.md").write_text(render(json.loads((folder / "results.json").read_text())))
