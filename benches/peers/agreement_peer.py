"""One run of our records, trained once more by PyTorch with the authors' neurons. Called by `agreement.py` and `epoch.py`.

Everything is taken from the record: network, data set, T, schedule, epochs, batch, seed. Initial weights are PyTorch's own and so is the
order of samples: the seed is the same number, the draws are not. Event frames are SpikingJelly's.
"""

import argparse
import json
import math
import struct
import sys
import time
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import torch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="the data folder of `cargo xtask data import`")
    parser.add_argument("--official", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sys.path.insert(0, str(options.official / "code"))
    from official import Official
    from records import unlike
    from spec import written_network

    record = json.loads(options.record.read_text())
    config = record["config"]
    if differs := unlike(config):
        raise SystemExit(f"{options.record} is no run that can be repeated here: {'; '.join(differs)}")
    images, labels = {"mnist": mnist, "cifar10": cifar10, "nmnist": nmnist}[config["dataset"]](options.data, config["time_steps"])
    network = written_network(record["layers"], *images["test"](torch.arange(1)).shape[2:4])
    torch.manual_seed(config["seed"])
    model = Official(network, config["neuron"]["rule"], config["time_steps"])
    spikes = SpikeCounter(model)
    model.optimizer.param_groups[0]["weight_decay"] = config["weight_decay"]
    batch, epochs = config["batch_size"], config["epochs"]
    steps = len(labels["train"]) // batch
    accuracies, firing_rate = [], 0.0
    seconds = {"train_seconds": [], "test_seconds": []}
    for epoch in range(epochs):
        began = time.perf_counter()
        model.layers.train()
        order = torch.randperm(len(labels["train"]))
        for step in range(steps):
            model.optimizer.param_groups[0]["lr"] = learning_rate(config["schedule"], epoch, epochs, step, steps)
            chosen = order[step * batch : (step + 1) * batch]
            model.step(images["train"](chosen), labels["train"][chosen])
        trained = time.perf_counter()
        model.layers.eval()
        spikes.clear()
        correct = 0
        for chosen in torch.arange(len(labels["test"])).split(batch):
            correct += (model.infer(images["test"](chosen)).argmax(1) == labels["test"][chosen]).sum().item()
        accuracies.append(100.0 * correct / len(labels["test"]))
        firing_rate = spikes.rate()
        seconds["train_seconds"].append(trained - began)
        seconds["test_seconds"].append(time.perf_counter() - trained)
    result = {"accuracy": accuracies[-1], "best_test": max(accuracies), "firing_rate": firing_rate}
    print(json.dumps(result | seconds | {"epochs": accuracies, "torch": torch.__version__}))


def learning_rate(schedule: dict, epoch: int, epochs: int, step: int, steps: int) -> float:
    highest, warm_up = schedule["learning_rate"], schedule["warm_up_epochs"]
    if schedule["cosine"] == "step":
        part = (epoch * steps + step) / (epochs * steps)
    elif epoch < warm_up:
        return highest / (warm_up - epoch)
    else:
        part = (epoch - warm_up) / max(1, epochs - warm_up)
    return highest * 0.5 * (1 + math.cos(math.pi * part))


class SpikeCounter:
    """Counts the spikes of all LIF nodes while the model is evaluated."""

    def __init__(self, model):
        self.fired, self.cells = 0, 0
        for layer in model.layers:
            if hasattr(layer, "calc_spike"):
                layer.register_forward_hook(self._see)

    def _see(self, layer, _, spikes):
        if not layer.training:
            # The authors' nodes give a spike as u / (u + 1e-12).
            self.fired += (spikes > 0.5).sum().item()
            self.cells += spikes.numel()

    def clear(self):
        self.fired, self.cells = 0, 0

    def rate(self) -> float:
        return self.fired / self.cells


def mnist(data: Path, _: int):
    """Pixels / 255 as `[N, 1, 1, 28, 28]`."""

    def read(name: str) -> torch.Tensor:
        raw = (data / "mnist" / "raw" / name).read_bytes()
        shape = struct.unpack(f">{raw[3]}I", raw[4 : 4 + 4 * raw[3]])
        return torch.from_numpy(np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape).copy())

    images, labels = {}, {}
    for split, name in [("train", "train"), ("test", "t10k")]:
        pixels = read(f"{name}-images-idx3-ubyte")
        images[split] = lambda chosen, pixels=pixels: (pixels[chosen].float() / 255)[:, None, None]
        labels[split] = read(f"{name}-labels-idx1-ubyte").long()
    return images, labels


def cifar10(data: Path, _: int):
    """Pixels / 255 as `[N, 1, 3, 32, 32]`."""
    images, labels = {}, {}
    for split, names in [("train", [f"data_batch_{i}.bin" for i in range(1, 6)]), ("test", ["test_batch.bin"])]:
        raw = b"".join((data / "cifar10" / "raw" / name).read_bytes() for name in names)
        records = torch.from_numpy(np.frombuffer(raw, np.uint8).reshape(-1, 1 + 3 * 32 * 32).copy())
        labels[split], pixels = records[:, 0].long(), records[:, 1:].reshape(-1, 1, 3, 32, 32)
        images[split] = lambda chosen, pixels=pixels: pixels[chosen].float() / 255
    return images, labels


def nmnist(data: Path, time_steps: int):
    """SpikingJelly's frames by number of events, `[N, T, 2, 34, 34]`."""
    # SpikingJelly's data sets import torchaudio, for speech alone, and some pairs of it and PyTorch refuse each other.
    for name in ["torchaudio", "torchaudio.transforms"]:
        sys.modules[name] = MagicMock()
    from spikingjelly.datasets import utils

    images, labels = {}, {}
    for split, folder in [("train", "Train"), ("test", "Test")]:
        files = sorted((data / "nmnist" / "raw" / folder).glob("*/*.bin"))
        frames = [
            utils.integrate_events_by_fixed_frames_number(
                utils.load_ATIS_bin(str(file)), "number", time_steps, 34, 34
            )
            for file in files
        ]
        frames = torch.from_numpy(np.stack(frames)).float()
        images[split] = lambda chosen, frames=frames: frames[chosen]
        labels[split] = torch.tensor([int(file.parent.name) for file in files])
    return images, labels


main()
