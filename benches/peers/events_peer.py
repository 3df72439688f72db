"""One peer's own functions over files of events: called by events.py under the peers' Python.

Reads a JSON object from a line of standard input, {peer, format, files, split, time_steps, height, width, at_least_s, save}, and prints one:
{"timed_files": number, "failed": {index: why}} or, where the peer cannot, {"cannot": why}. `save` gets the frames of all files as
little-endian u16 [T, 2, H, W] one behind the other; of a file that it cannot frame alone, zeros. For each further line it frames
all files but the failed ones again, once to warm up where that is quick, then for `at_least_s` or once, and prints {"seconds": median}.
"""

import json
import statistics
import sys
import time
from unittest.mock import MagicMock


def spikingjelly(case):
    import numpy as np

    # Its data sets import torchaudio, for speech alone, and some pairs of it and PyTorch refuse each other.
    for name in ["torchaudio", "torchaudio.transforms"]:
        sys.modules[name] = MagicMock()
    from spikingjelly.datasets import utils

    if case["format"] == "aedat2":
        # What its CIFAR10-DVS reads its files with; it has no public function for the format.
        from spikingjelly.datasets.cifar10_dvs import _load_origin_data as load
    elif case["format"] == "nmnist-bin":
        load = utils.load_ATIS_bin
    elif case["format"] == "aedat3.1":
        load = utils.load_aedat_v3
    else:
        raise LookupError("it reads no AEDAT 4")

    def frame(file):
        return utils.integrate_events_by_fixed_frames_number(
            load(file), case["split"], case["time_steps"], case["height"], case["width"]
        )

    return frame, lambda frames: np.asarray(frames)


def tonic(case):
    import numpy as np
    import tonic
    from tonic import io, transforms

    bins = "n_event_bins" if case["split"] == "number" else "n_time_bins"
    to_frame = transforms.ToFrame(
        sensor_size=(case["width"], case["height"], 2), **{bins: case["time_steps"]}
    )
    same = lambda frames: frames
    if case["format"] == "nmnist-bin":
        return lambda file: to_frame(io.read_mnist_file(file, dtype=tonic.datasets.NMNIST.dtype)), same
    if case["format"] == "aedat4":
        # `aedat` 2 calls polarity "on", and `ToFrame` asks for "p".
        named = [("t", "<i8"), ("x", "<u2"), ("y", "<u2"), ("p", "?")]
        return lambda file: to_frame(io.read_aedat4(file).astype(named)), same

    # `io.read_dvs_128` and `io.read_dvs_ibm` of Tonic 1.7.0 raise: the header's function gives three values, and they take
    # two. These are their lines with that mended.
    def read(file):
        version, start, _ = io.read_aedat_header_from_file(file)
        raw = io.get_aer_events_from_file(file, version, start)
        address = raw["address"]
        if case["format"] == "aedat2":
            x, y, p = address >> 8 & 0x7F, address >> 1 & 0x7F, address & 1
        else:
            x, y, p = address >> 17 & 0x1FFF, address >> 2 & 0x1FFF, address >> 1 & 1
        return io.make_structured_array(x, y, raw["timeStamp"], p)

    # Its AEDAT 2.0 picture is turned by half, and its polarity the other way round.
    turned = (lambda frames: frames[:, ::-1, ::-1, ::-1]) if case["format"] == "aedat2" else same
    return lambda file: to_frame(read(file)), turned


def main():
    case = json.loads(sys.stdin.readline())
    try:
        frame, as_ours = {"spikingjelly": spikingjelly, "tonic": tonic}[case["peer"]](case)
    except LookupError as why:
        answer({"cannot": str(why.args[0])})
        return
    import numpy as np
    import torch

    torch.set_num_threads(1)
    failed = {}
    with open(case["save"], "wb") as save:
        for index, file in enumerate(case["files"]):
            try:
                frames = as_ours(frame(file))
            except Exception as error:  # whatever the peer raises is its answer
                failed[index] = f"{type(error).__name__}: {error}"
                frames = np.zeros([case["time_steps"], 2, case["height"], case["width"]])
            save.write(np.ascontiguousarray(frames).astype("<u2").tobytes())
    files = [file for index, file in enumerate(case["files"]) if index not in failed]
    answer({"timed_files": len(files), "failed": failed})

    def seconds():
        start = time.perf_counter()
        for file in files:
            frame(file)
        return time.perf_counter() - start

    last = 0
    for _ in sys.stdin:
        if last < case["at_least_s"]:
            seconds()
        passes = []
        while sum(passes) < case["at_least_s"]:
            passes.append(seconds())
        last = statistics.median(passes)
        answer({"seconds": last})


# What a library prints is no answer.
answers, sys.stdout = sys.stdout, sys.stderr


def answer(what):
    print(json.dumps(what), file=answers, flush=True)


main()
