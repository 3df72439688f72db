#!/usr/bin/env python3
"""Compares decoding and framing of event files with SpikingJelly's and Tonic's own functions. Needs Linux, Python 3.11 or later with venv,
git and Rust, and for all rows but the last the real files of `--data`; what is not there is left out by name.

All sides frame the same files, on one CPU: first the frames are compared, then the sides are timed in turn, round by round, each in a
process of its own, each file read from where it lies (in the page cache by then). See README.md, "Events"; `--output DIR` gets events.json
and events.md.
"""

import argparse
import json
import os
import platform
import statistics
import struct
import subprocess
import sys
import tarfile
import tempfile
from array import array
from pathlib import Path

from run import built, cpu_model, make_venv, now, versions

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PACKAGES = ["torch==2.15.0", "torchvision==0.29.2", "spikingjelly==2.0.0", "tonic==1.7.0", "aedat==2.3.0", "numpy==2.4.6"]
PEERS = ["spikingjelly", "tonic"]
# Of each side in each round: a processor that has been idle is slow at first.
SECONDS = 0.3
SYNTHETIC = "synthetic events in official AEDAT 3.1 format"


def main() -> int:
    options = parse()
    left_out = lacking(options)
    for name in left_out:
        print(f"left out: {name}", file=sys.stderr)
    python = options.venv / "bin" / "python"
    make_venv(options.venv, PACKAGES)
    ours, commit = built()
    # What is built and installed may have all CPUs; what is timed has one.
    os.sched_setaffinity(0, [max(os.sched_getaffinity(0))])
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        rows = []
        for name, format, files, size, rounds in cases(options, scratch):
            for split in ["number", "time"]:
                case = {"name": name, "format": format, "files": [str(file) for file in files], "split": split}
                case |= {"time_steps": options.time_steps, "width": size[0], "height": size[1], "rounds": rounds}
                print(f"{name}, by {split}", file=sys.stderr)
                rows.append(measure(case, ours, python, scratch))
        recording = scratch / "synthetic.aedat"
        memory = peak_memory(ours, recording, scratch) if recording.exists() else None
    result = {
        # Where things lie on this machine is of no use on another.
        "command": " ".join(
            ["python3", "benches/peers/events.py", *("DIR" if "/" in word else word for word in sys.argv[1:])]
        ),
        "date": now(),
        "commit": commit,
        "cpu": cpu_model(),
        "python": platform.python_version(),
        "versions": versions(python, PACKAGES),
        "left_out": left_out,
        "rows": rows,
        "memory": memory,
    }
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "events.json").write_text(json.dumps(result, indent=1) + "\n")
    text = render(result)
    (options.output / "events.md").write_text(text)
    print(text)
    return 0 if all(one.get("equal", True) for row in rows for one in row["peers"].values()) else 1


def parse() -> argparse.Namespace:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "bpsta-peers"
    shared = Path(os.environ.get("BPSTA_SHARED", ROOT.parent / "shared")) / "data"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nmnist", type=Path, help="a folder of N-MNIST .bin files, such as DATA/nmnist/raw/Test; unpacked from --data if not given")
    parser.add_argument("--data", type=Path, default=shared, help="has nmnist.tar.xz, aedat2/ and aedat4/; what is not there is left out by name")
    parser.add_argument("--megabytes", type=int, default=100, help=f"of the {SYNTHETIC}; 0 leaves it out")
    parser.add_argument("--time-steps", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--venv", type=Path, default=cache / "venv", help="made where it is missing")
    parser.add_argument("--output", type=Path, required=True, help="folder of events.json and events.md")
    return parser.parse_args()


def lacking(options) -> list[str]:
    """The rows that cannot be timed, each with what it wants."""
    if options.nmnist and not any(options.nmnist.rglob("*.bin")):
        raise SystemExit(f"{options.nmnist} holds no .bin file: --nmnist is a folder of N-MNIST recordings, such as DATA/nmnist/raw/Test")
    wants = {
        "N-MNIST (nmnist.tar.xz in --data, or --nmnist DIR)": options.nmnist or (options.data / "nmnist.tar.xz").exists(),
        "AEDAT 2.0 (aedat2/*.aedat in --data)": aedat2(options),
        "AEDAT 4 (aedat4/*.aedat4 in --data)": any((options.data / "aedat4").glob("*.aedat4")),
        f"AEDAT 3.1, {SYNTHETIC} (--megabytes above 0)": options.megabytes,
    }
    return [name for name, there in wants.items() if not there]


def aedat2(options) -> list[Path]:
    """A header without events has no frames."""
    return [file for file in sorted((options.data / "aedat2").glob("*.aedat")) if file.stat().st_size > 4096]


def cases(options, scratch):
    """Name, format, files, (width, height) and rounds."""
    nmnist = options.nmnist
    if nmnist is None and (options.data / "nmnist.tar.xz").exists():
        nmnist = scratch / "nmnist"
        with tarfile.open(options.data / "nmnist.tar.xz") as archive:
            archive.extractall(nmnist, filter="data")
    if nmnist:
        yield "N-MNIST", "nmnist-bin", sorted(nmnist.rglob("*.bin")), (34, 34), options.rounds
    if files := aedat2(options):
        yield "AEDAT 2.0, DVS128", "aedat2", files, (128, 128), options.rounds
    for file in sorted((options.data / "aedat4").glob("*.aedat4")):
        size = (346, 260) if "346" in file.name else (320, 240)
        yield f"AEDAT 4, {size[0]}x{size[1]}", "aedat4", [file], size, options.rounds
    if options.megabytes:
        path = scratch / "synthetic.aedat"
        write_synthetic(path, options.megabytes * 10**6 // 8)
        # SpikingJelly takes a quarter of a minute for it.
        yield f"AEDAT 3.1, {options.megabytes} MB, {SYNTHETIC}", "aedat3.1", [path], (128, 128), min(3, options.rounds)


def write_synthetic(path: Path, events: int) -> None:
    """A spot of 24x24 pixels that wanders over a DVS128, 8 us from event to event, in packets of 8,192."""
    state, packet = 1, 8192
    with open(path, "wb") as file:
        file.write(b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n# " + SYNTHETIC.encode() + b"\r\n#!END-HEADER\r\n")
        for first in range(0, events, packet):
            words = array("I")
            for index in range(first, min(events, first + packet)):
                state = (state * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
                noise, place = state >> 40, index // 20000
                x, y = (place + noise % 24) % 128, (place // 3 + (noise >> 8) % 24) % 128
                words.append(x << 17 | y << 2 | (noise >> 16 & 1) << 1 | 1)
                words.append(8 * index)
            if sys.byteorder == "big":
                words.byteswap()
            count = len(words) // 2
            file.write(struct.pack("<HHIIIIII", 1, 1, 8, 4, 0, count, count, count) + words.tobytes())


def measure(case: dict, ours: Path, python: Path, scratch: Path) -> dict:
    save = scratch / "ours.bin"
    listed = [word for file in case["files"] for word in ("--file", file)]
    command = [ours, "bench", "events", *listed, "--format", case["format"], "--split", case["split"], "--json"]
    command += ["--time-steps", str(case["time_steps"])]
    own = json.loads(run([*command, "--save", save]))
    command += ["--rounds", str(max(3, min(65535, round(SECONDS / statistics.median(own["seconds"])))))]
    # What is measured, each round measures anew.
    own = {key: own[key] for key in ("files", "events", "bytes", "framing")} | {"seconds": [], "copied_bytes_per_s": []}
    started = {}
    for peer in PEERS:
        theirs = scratch / f"{peer}.bin"
        given = case | {"peer": peer, "save": str(theirs), "at_least_s": SECONDS}
        process = subprocess.Popen([python, HERE / "events_peer.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        found = ask(process, peer, json.dumps(given)) | {"seconds": []}
        if "cannot" not in found:
            found |= compare(case, peer, save, theirs, {int(index) for index in found["failed"]})
            theirs.unlink()
        started[peer] = process, found
    # In turn, so that what slows the machine down for a while slows all of them down.
    for _ in range(case["rounds"]):
        one = json.loads(run(command))
        own["seconds"].append(statistics.median(one["seconds"]))
        own["copied_bytes_per_s"].append(one["copied_bytes_per_s"])
        for peer, (process, found) in started.items():
            if found.get("timed_files"):
                found["seconds"].append(ask(process, peer, "go")["seconds"])
    for process, _ in started.values():
        process.communicate()
    peers = {peer: found | {"ratio": ratio(case, own, found)} for peer, (_, found) in started.items()}
    return {"case": case | {"files": len(case["files"])}, "ours": own, "peers": peers}


def ask(process: subprocess.Popen, peer: str, line: str) -> dict:
    """One line to a peer, and its answer."""
    try:
        process.stdin.write(line + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
    except BrokenPipeError:
        answer = ""
    if not answer:
        raise SystemExit(f"{peer}'s process stopped with {process.wait()}: what it said stands above")
    return json.loads(answer)


def ratio(case: dict, own: dict, found: dict) -> float | None:
    """How many times as long the peer takes for a byte, round by round, of the files that it can frame; their median."""
    if not found.get("timed_files"):
        return None
    sizes = [os.path.getsize(file) for file in case["files"]]
    framed = sum(size for index, size in enumerate(sizes) if str(index) not in found["failed"])
    times = zip(found["seconds"], own["seconds"], strict=True)
    return statistics.median(theirs / framed * sum(sizes) / ours for theirs, ours in times)


def compare(case: dict, peer: str, ours: Path, theirs: Path, failed: set[int]) -> dict:
    """Whether all frames are equal; of Tonic, all but the last, which leaves out the rest of the events there."""
    frame = 2 * 2 * case["height"] * case["width"]
    compared = case["time_steps"] - (peer == "tonic")
    different = []
    with open(ours, "rb") as one, open(theirs, "rb") as other:
        for index in range(len(case["files"])):
            a, b = (file.read(case["time_steps"] * frame)[: compared * frame] for file in (one, other))
            if index not in failed and a != b:
                different.append(index)
    return {"equal": not different, "different": different}


def peak_memory(ours: Path, recording: Path, scratch: Path) -> dict:
    """Largest resident set of `data frame --file` and of `data inspect`, which holds all events."""
    peaks = {}
    output = scratch / "frames.h5"
    for name, command in {
        "data frame --file": ["data", "frame", "--file", recording, "--time-steps", "16", "--output", output],
        "data inspect": ["data", "inspect", recording],
    }.items():
        process = subprocess.Popen([ours, *command], cwd=ROOT, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{name} failed")
        peaks[name] = usage.ru_maxrss * 1024
    return {"recording_bytes": recording.stat().st_size, "peak_bytes": peaks}


def run(command, *, input=None) -> str:
    finished = subprocess.run(command, input=input, cwd=ROOT, capture_output=True, text=True)
    if finished.returncode:
        raise SystemExit(f"{command[0]} failed:\n{finished.stderr[-3000:]}")
    return finished.stdout


def render(result: dict) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    lines = [
        "# Decoding and framing, beside SpikingJelly and Tonic",
        "",
        f"{result['cpu']}, one CPU; {result['date']}, commit {result['commit']}, Python {result['python']}, {packages}",
        "",
        "```console",
        f"$ {result['command']}",
        "```",
        "",
        "From the file (in the page cache) to frames, one side after another in each round; medians of the rounds. \"Of a copy\" is bytes of file a",
        f"second beside the bytes a second that memory is copied at in the same round. The AEDAT 3.1 recording is made up ({SYNTHETIC}); all others are real.",
        *(["", f"Left out, since it was not there: {'; '.join(result['left_out'])}."] if result.get("left_out") else []),
        "",
        "| files | events | framed by | ms a file | million events/s | of a copy | SpikingJelly | Tonic |",
        "|---|---|---|---|---|---|---|---|",
    ]
    notes = []
    for row in result["rows"]:
        case, ours = row["case"], row["ours"]
        seconds = statistics.median(ours["seconds"])
        copied = zip(ours["seconds"], ours["copied_bytes_per_s"], strict=True)
        of_copy = statistics.median(ours["bytes"] / seconds / copied for seconds, copied in copied)
        cells = []
        for peer, one in row["peers"].items():
            where = f"{case['name']}, by {case['split']}, {peer}"
            if "cannot" in one:
                cells.append(one["cannot"])
                continue
            cells.append(f"{one['ratio']:.0f}x" if one["ratio"] else "raises")
            if one["failed"]:
                raised = "; ".join(sorted(set(one["failed"].values())))
                notes.append(f"{where}: {len(one['failed'])} of {case['files']} files raise ({raised}), and are not timed")
            if not one["equal"]:
                notes.append(f"{where}: frames differ in {len(one['different'])} of {case['files']} files")
        files = "" if case["files"] == 1 else f", {case['files']:,} files"
        lines.append(
            f"| {case['name']}{files} | {ours['events']:,} | {case['split']}:{case['time_steps']} | {1e3 * seconds / case['files']:.3f} "
            f"| {ours['events'] / seconds / 1e6:.0f} | {100 * of_copy:.0f} % | {' | '.join(cells)} |"
        )
    lines += ["", "Frames were compared first: with SpikingJelly's all of them, with Tonic's all but the last, which there leaves out the N mod T last events"]
    lines += ["(by number) or those from t_first + T * dt on (by time). " + ("" if notes else "All are equal.")]
    lines += ["", *(f"- {note}." for note in notes)] if notes else []
    if result["memory"]:
        size, peaks = result["memory"]["recording_bytes"], result["memory"]["peak_bytes"]
        lines += ["", f"Peak memory on the recording of {size / 1e6:.0f} MB ({SYNTHETIC}):", ""]
        lines += [f"- `{name}`: {peak / 1e6:.0f} MB, {peak / size:.2f} times the file" for name, peak in peaks.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
