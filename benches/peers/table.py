"""The Markdown report of results.json."""

import statistics

HEADS = ["network", "width", "T", "batch", "rule", "ours ms", "official ms", "SJ ms", "official / ours", "SJ / ours"]
HEADS += ["ours MiB", "official MiB", "SJ MiB", "official / ours", "SJ / ours", "loss off by", "votes flipped"]
HEADS += ["gradient off by", "other load"]


def render(content: dict) -> str:
    """Medians, ratios and what they were measured on."""
    cells = list(content["cells"].values())
    machine = content["machine"]
    lines = [
        "# The CPU engine beside the official code and SpikingJelly",
        "",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}; "
        f"{_all(one['threads'] for one in cells)} threads on as many cores. "
        f"Measured {min(one['date'] for one in cells)} to {max(one['date'] for one in cells)}, "
        f"commit {_all(one['commit'] for one in cells)}.",
        "",
        *(f"- {side}: {_all(_about(one['check'][side]) for one in cells)}" for side in cells[0]["check"]),
        "",
        "ms: median over rounds of a process's median. Ratios: median over rounds of the ratio within a round; above 1 "
        "ours is faster or smaller. MiB: largest resident set, of which importing PyTorch and its like takes "
        f"{_libraries(cells, 'official')} (official) and {_libraries(cells, 'spikingjelly')} (SJ). The last columns "
        "say how far the peers (official, SJ) lie from ours before the first update, and the largest share of the CPUs "
        "that other programs took while a side ran: a row where that is not near 0 is not worth much.",
    ]
    for mode, title in [("step", "Training step"), ("inference", "Inference")]:
        rows = [_row(one) for one in cells if one["cell"]["mode"] == mode]
        if rows:
            lines += ["", f"## {title}", "", _line(HEADS), _line("---" for _ in HEADS), *map(_line, rows)]
    return "\n".join(lines) + "\n"


def _row(one: dict) -> list[str]:
    cell, check, rounds = one["cell"], one["check"], one["rounds"]
    peers = ["official", "spikingjelly"]

    def median(key: str, side: str) -> float:
        return statistics.median(turn[side][key] for turn in rounds)

    def ratio(key: str, side: str) -> str:
        return f"{statistics.median(turn[side][key] / turn['ours'][key] for turn in rounds):.2f}"

    def pair(text) -> str:
        return ", ".join(text(check[side]) for side in peers)

    ours = check["ours"]["loss"]
    return [
        *(cell["network"], f"{cell['width']:g}", str(cell["time_steps"]), str(cell["batch"]), cell["rule"]),
        *(f"{median('ms_per_step', side):.3g}" for side in ["ours", *peers]),
        *(ratio("ms_per_step", side) for side in peers),
        *(f"{median('peak_rss_mb', side):.0f}" for side in ["ours", *peers]),
        *(ratio("peak_rss_mb", side) for side in peers),
        pair(lambda peer: f"{abs(peer['loss'] / ours - 1):.0e}") + ("" if one["agrees"] else " **disagree**"),
        pair(lambda peer: str(peer.get("flipped_votes", "-"))),
        pair(lambda peer: f"{peer['gradient_difference']:.0e}" if "gradient_difference" in peer else "-"),
        f"{max(side['other_load'] for turn in rounds for side in turn.values()):.0%}",
    ]


def _about(result: dict) -> str:
    if "versions" not in result:
        return f"engine {result['engine']}, kernels for {result['simd']}"
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return f"{versions}; {result['configuration']}"


def _libraries(cells: list, side: str) -> str:
    return f"{statistics.median(one['check'][side]['libraries_rss_mb'] for one in cells):.0f} MiB"


def _all(values) -> str:
    return " and ".join(sorted({str(value) for value in values}))


def _line(fields) -> str:
    return f"| {' | '.join(fields)} |"
