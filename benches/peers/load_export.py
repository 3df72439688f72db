#!/usr/bin/env python3
"""Loads what `cargo xtask export RUN --to torch` wrote into a torch.nn.Sequential, and runs it over the test split.

    python3 load_export.py FILE [FRAMES.h5]

FRAMES.h5 is the data set's cache, DATA/.../frames/KEY.h5, of event data; images have none, and enter as pixel / 255. Needs torch, safetensors and h5py, nothing of this repository.
Prints accuracy, and spikes per sample and LIF layer. A tie goes to the lower class. Sums are taken in another order than by the
engine that trained it, so that a cell whose potential lies on the threshold may fire here and not there.
"""

import json
import sys

import torch
from safetensors import safe_open
from torch import nn


class Lif(nn.Module):
    """u = v + I; fires where u >= threshold; v = decay * u, or 0 where it fired."""

    def __init__(self, threshold, decay):
        super().__init__()
        self.threshold, self.decay, self.v, self.spikes = threshold, decay, 0.0, 0.0

    def forward(self, current):
        u = self.v + current
        spike = (u >= self.threshold).float()
        self.v = self.decay * u * (1 - spike)
        self.spikes += spike.sum().item()
        return spike


class Vote(nn.Module):
    """Spikes of consecutive groups of cells, counted: sums of whole numbers are exact, so that a tie stays one."""

    def __init__(self, voters):
        super().__init__()
        self.voters = voters

    def forward(self, cells):
        return cells.unflatten(1, (-1, self.voters)).sum(2)


def load(file):
    """The network in evaluation mode, and what the file says of it."""
    with safe_open(file, "pt") as f:
        state = {name: f.get_tensor(name) for name in f.keys()}
        note = json.loads(f.metadata()["bpsta"])["note"]
    modules = []
    for index, layer in enumerate(note["modules"]):
        kind, sizes = (layer, {}) if isinstance(layer, str) else next(iter(layer.items()))
        weight = state.get(f"{index}.weight")
        modules.append(
            {
                "Conv": lambda: nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1),
                "BatchNorm": lambda: nn.BatchNorm2d(weight.shape[0]),
                "Relu": nn.ReLU,
                "Lif": lambda: Lif(note["neuron"]["threshold"], note["neuron"]["decay"]) if note["neuron"] else nn.Identity(),
                "MaxPool": lambda: nn.MaxPool2d(sizes["size"]),
                "AvgPool": lambda: nn.AvgPool2d(sizes["size"]),
                "NeuronDropout": nn.Identity,  # nothing in evaluation
                "Flatten": nn.Flatten,
                "Linear": lambda: nn.Linear(weight.shape[1], weight.shape[0]),
                "Vote": lambda: Vote(sizes["voters"]),
            }[kind]()
        )
    network = nn.Sequential(*modules)
    network.load_state_dict(state)
    return network.eval(), note


@torch.no_grad()
def votes(network, note, frames):
    """Mean votes `[N, classes]` for frames `[N, T, C, H, W]`; an image, T = 1, enters at each time step."""
    for module in network:
        if isinstance(module, Lif):
            module.v = 0.0
    stride = note["input"]["stride"]
    frames = frames[..., ::stride, ::stride].expand(-1, note["time_steps"], -1, -1, -1)
    counts = sum(network(frames[:, t]) for t in range(note["time_steps"]))
    return counts / (network[-1].voters * note["time_steps"])


def main(file, cache=None):
    network, note = load(file)
    print(f"run {note['run_id']}: {note['data']}, rule {note['rule']}, {note['layers']}")
    if cache is None:
        return
    import h5py

    with h5py.File(cache) as f:
        frames = torch.from_numpy(f["frames/test"][:].astype("float32"))
        labels = torch.from_numpy(f["labels/test"][:].astype("int64"))
    found = torch.cat([votes(network, note, part).argmax(1) for part in frames.split(64)])
    print(f"accuracy {100 * (found == labels).float().mean():.2f} %, by the record {note['accuracy_last']:.2f} %")
    for index, module in enumerate(network):
        if isinstance(module, Lif):
            print(f"layer {index}: {module.spikes / len(labels):.2f} spikes a sample")


if __name__ == "__main__":
    main(*sys.argv[1:])
