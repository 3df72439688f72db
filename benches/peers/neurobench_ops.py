"""Operations that a run's record counts, beside NeuroBench's effective operations on the same weights and samples.

    python3 benches/peers/neurobench_ops.py RUN_DIR FRAMES.h5

RUN_DIR is a finished run of event data (runs/RUN_ID, with final.safetensors), FRAMES.h5 the frame cache it was tested on. Needs torch,
safetensors, h5py and neurobench (2.3 was used). Spikes are computed here once more, in PyTorch: a sum in another order may move a spike
across the threshold here and there, so counts may differ by a few in a million; exit code 1 if any differs by more than 0.1 %.
"""

import json
import re
import sys
from pathlib import Path

import h5py
import numpy as np
import torch
from neurobench.metrics.utils.layers.macs import single_layer_MACs
from safetensors.torch import load_file
from torch import nn


class Cells(nn.Module):
    """v = 0; u = v + x, s = u >= 0.5, v = 0.9 u (1 - s); state is kept between calls until `reset`."""

    def __init__(self):
        super().__init__()
        self.v = 0.0

    def forward(self, x):
        u = self.v + x
        s = (u >= 0.5).float()
        self.v = 0.9 * u * (1 - s)
        return s


def network(record, tensors):
    """The record's layers as modules, at the indices that its tensors are named by."""
    layers, channels = [], record["config"]["input"]["channels"]
    for part in record["layers"].split("-"):
        if found := re.fullmatch(r"(\d+)C3", part):
            out = int(found[1])
            layers += [nn.Conv2d(channels, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU(), Cells()]
            channels = out
        elif part.startswith("MP"):
            layers.append(nn.MaxPool2d(int(part[2:])))
        elif part.startswith("AP"):
            layers.append(nn.AvgPool2d(int(part[2:])))
        elif part.startswith("DP"):
            layers += flatten(layers) + [nn.Identity()]
        elif part == "ReLU":
            layers.append(nn.ReLU())
        elif part == "LIF":
            layers.append(Cells())
        elif found := re.fullmatch(r"(\d+)FC", part):
            layers += flatten(layers)
            weight = tensors[f"{len(layers)}.weight"]
            layers.append(nn.Linear(weight.shape[1], weight.shape[0]))
        elif not part.endswith("Voting"):
            raise SystemExit(f"unknown layer {part}")
    if not isinstance(layers[-1], Cells):
        layers.append(Cells())
    net = nn.Sequential(*layers)
    own = {name: tensor for name, tensor in tensors.items() if name in net.state_dict()}
    missing = net.load_state_dict(own, strict=False).missing_keys
    if any(not name.endswith("num_batches_tracked") for name in missing):
        raise SystemExit(f"no tensor for {missing}")
    return net.eval()


def flatten(layers):
    return [] if any(isinstance(layer, nn.Flatten) for layer in layers) else [nn.Flatten()]


def main():
    run, cache = Path(sys.argv[1]), sys.argv[2]
    record = json.loads((run / "record.json").read_text())
    config = record["config"]
    with h5py.File(cache) as file:
        if file.attrs["framing"] != config["framing"] or file.attrs["manifest_hash"] != config["manifest_hash"]:
            raise SystemExit(f"{cache} is not what {run.name} was tested on")
        frames = torch.from_numpy(file["frames/test"][:].astype(np.float32))
        labels = torch.from_numpy(file["labels/test"][:].astype(np.int64))
    stride = config["input"]["stride"]
    frames = frames[..., ::stride, ::stride]
    net = network(record, load_file(run / "final.safetensors"))
    counts = {index: 0 for index, layer in enumerate(net) if isinstance(layer, (nn.Conv2d, nn.Linear))}
    votes = 0
    with torch.no_grad():
        for t in range(frames.shape[1]):
            x = frames[:, t]
            for index, layer in enumerate(net):
                if index in counts:
                    counts[index] += sum(single_layer_MACs(one[None], layer)[0] for one in x)
                x = layer(x)
            votes = votes + x
    votes = votes.reshape(len(labels), config["classes"], -1).mean(-1)
    accuracy = 100 * (votes.argmax(1) == labels).float().mean().item()
    print(f"{record['data']}; {record['rule']}, T = {record['time_steps']}, {record['layers']}")
    print(f"accuracy: record {record['accuracy']['last']:.2f} %, here {accuracy:.2f} %")
    worst = 0.0
    for of in record["operations"]:
        ours, theirs = of["operations_per_sample"], counts[of["layer"]] / len(labels)
        worst = max(worst, abs(ours / theirs - 1))
        kind = "multiplications" if of["real"] else "additions"
        print(f"layer {of['layer']:2}: {kind:15} record {ours:12.1f}, NeuroBench {theirs:12.1f} a sample")
    print(f"largest difference: {100 * worst:.4f} %")
    sys.exit(worst > 1e-3)


main()
