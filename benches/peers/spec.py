"""The three networks as data, and the file both sides start from.

A layer's index is its index in a `torch.nn.Sequential`, so parameters go by the same names on every side.
"""

import re
from dataclasses import dataclass

from safetensors.torch import load_file

from records import ALPHA, DECAY, THRESHOLD  # noqa: F401: for those who build the networks

VOTERS = 10
DROPOUT = 0.5

Layers = list[tuple]  # (kind, *sizes)


@dataclass(frozen=True)
class Network:
    """What is computed: the layers, the stride of the door, and whether one image stands for all time steps."""

    layers: Layers
    stride: int
    direct: bool


def paper_network(name: str, width: float) -> Network:
    """The paper's networks as its code builds them, every hidden layer scaled by `width`.

    small sees 1x28x28 images, middle 2x34x34 frames, large 2x128x128 frames of which it takes every second pixel.
    """

    def scaled(channels: int) -> int:
        return max(1, int(channels * width + 0.5))

    layers: Layers = []
    channels = {"small": 1, "middle": 2, "large": 2}[name]

    def conv(*outs: int) -> None:
        nonlocal channels
        for out in map(scaled, outs):
            layers.extend([("conv", channels, out), ("norm", out), ("relu",), ("lif",)])
            channels = out

    if name == "small":
        conv(128)
        layers.append(("max", 2))
        conv(128, 256)
        layers.extend([("avg", 2), ("flatten",), ("linear", channels * 7 * 7, scaled(2048))])
        layers.extend([("relu",), ("dropout", scaled(2048)), ("lif",)])
        features = scaled(2048)
    elif name == "middle":
        conv(128)
        layers.append(("max", 2))
        conv(128)
        layers.append(("max", 2))
        conv(256)
        layers.append(("avg", 2))
        conv(512)
        layers.extend([("avg", 4), ("flatten",), ("dropout", channels)])
        features = channels
    else:
        conv(128, 128)
        layers.append(("max", 2))
        conv(128)
        layers.append(("max", 2))
        conv(256)
        layers.append(("max", 2))
        conv(512)
        layers.append(("avg", 2))
        conv(1024)
        layers.extend([("avg", 4), ("flatten",), ("dropout", channels)])
        features = channels
    classes = 11 if name == "large" else 10
    layers.extend([("linear", features, VOTERS * classes), ("lif",), ("vote",)])
    return Network(layers, stride=2 if name == "large" else 1, direct=name == "small")


def written_network(text: str, channels: int, side: int) -> Network:
    """The network that a record's `layers` spell, such as 16C3-MP2-32C3-AP2-DP0.5-100FC-10Voting, for `channels` square maps of `side`.

    A convolution brings its norm, ReLU and cells, the last linear layer its cells; images (of 1 or 3 channels) stand for all time steps.
    """
    layers: Layers = []
    direct, features = channels != 2, 0
    for word in text.split("-"):
        match re.fullmatch(r"(\d*)([A-Za-z]+)([\d.]*)", word).groups():
            case [out, "C", "3"]:
                layers.extend([("conv", channels, int(out)), ("norm", int(out)), ("relu",), ("lif",)])
                channels = int(out)
            case ["", "MP" | "AP" as pool, size]:
                layers.append(({"MP": "max", "AP": "avg"}[pool], int(size)))
                side //= int(size)
            case [out, "DP" | "FC" as kind, share]:
                if not features:
                    layers.append(("flatten",))
                    features = channels * side * side
                if kind == "FC":
                    layers.append(("linear", features, int(out)))
                    features = int(out)
                elif float(share) == DROPOUT:
                    layers.append(("dropout", features))
                else:
                    raise SystemExit(f"{text}: the authors' dropout is of {DROPOUT}, not {share}")
            case ["", "ReLU", ""]:
                layers.append(("relu",))
            case ["", "LIF", ""]:
                layers.append(("lif",))
            case [voters, "Voting", ""] if int(voters) == VOTERS:
                layers.extend([("lif",), ("vote",)])
            case _:
                raise SystemExit(f"{text}: what {word} is to be is not known here")
    return Network(layers, stride=1, direct=direct)


class Case:
    """Weights, data and results of one step, as `cargo xtask bench step --save` writes them."""

    def __init__(self, file: str, device: str = "cpu"):
        tensors = load_file(file, device=device)
        self.parameters = _under("param.", tensors)
        self.buffers = _under("buffer.", tensors)
        self.gradients = _under("grad.", tensors)
        self.masks = {int(index): mask for index, mask in _under("mask.", tensors).items()}
        self.input, self.labels = tensors["input"], tensors["labels"]
        self.output = tensors["output"]

    def keep_data(self) -> None:
        """Lets go of all but the data, and of the file that they lie in."""
        self.input, self.labels = self.input.clone(), self.labels.clone()
        del self.parameters, self.buffers, self.gradients, self.masks, self.output


def _under(prefix: str, tensors: dict) -> dict:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
