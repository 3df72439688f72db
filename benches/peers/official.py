"""The authors' code (Brain-Cog-Lab/BP-STA), run the way its `train.py` and `networks.py` run it.

Neurons, dropout, vote, encoder and loss are imported from a clone (its `code` folder must be on `sys.path`); nothing
of it is copied here. Its network class is not used: its widths are fixed, and its small network cannot run (the sizes
of two layers do not match).

Three departures, each in the official code's favour or needed to run at all: anomaly detection is off (`train.py`
leaves it on, which costs half as much again), `DGLIFNode`'s first input is cloned (it writes into the ReLU's output,
which today's PyTorch refuses), and the training accuracy is not computed.
"""

import encoders
import losses
import operations  # it also brings the nodes
import torch
from torch import nn

from spec import ALPHA, DECAY, THRESHOLD, VOTERS, Case, Network


class Official:
    """One network with its optimizer."""

    configuration = "eager, one time step after the other"

    def __init__(self, network: Network, rule: str, time_steps: int):
        self.door = network.stride
        self.time_steps = time_steps
        self.encoder = encoders.Encoder(time_steps, "direct")
        self.criterion = losses.UnilateralMse(1.0)
        self.layers = nn.Sequential(*(_build(one, rule) for one in network.layers))
        self.optimizer = torch.optim.AdamW(self.layers.parameters(), lr=1e-3, weight_decay=1e-4)

    def train(self, case: Case) -> None:
        """Takes the case's parameters."""
        self.layers.load_state_dict(case.parameters | case.buffers, strict=False)

    def evaluate(self, case: Case) -> None:
        """Takes the case's parameters and running statistics."""
        self.train(case)
        self.layers.eval()

    def step(self, frames: torch.Tensor, labels: torch.Tensor) -> None:
        """One training step with masks of its own."""
        self.backward(self.forward(frames, {}), labels)
        self.optimizer.step()

    def forward(self, frames: torch.Tensor, masks: dict[int, torch.Tensor]) -> torch.Tensor:
        """Mean votes `[N, classes]` for frames `[N, F, C, H, W]`; a mask that is not given is drawn."""
        direct = frames.shape[1] < self.time_steps
        frames = self.encoder(frames[:, 0]) if direct else frames.permute(1, 0, 2, 3, 4)
        for layer in self.layers:
            if hasattr(layer, "n_reset"):
                layer.n_reset()
        for index, mask in masks.items():
            self.layers[index].mask = mask
        outputs = []
        for x in frames:
            if self.door > 1:
                x = nn.functional.interpolate(x, size=[side // self.door for side in x.shape[2:]])
            outputs.append(self.layers(x))
        return sum(outputs) / len(outputs)

    def backward(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The loss, its gradients left in the parameters."""
        self.optimizer.zero_grad()
        loss = self.criterion(outputs, labels)
        loss.backward()
        return loss

    def infer(self, frames: torch.Tensor) -> torch.Tensor:
        """Mean votes in evaluation mode; the firing rates that `train.py` also collects there are left out."""
        with torch.no_grad():
            return self.forward(frames, {})

    def gradients(self) -> dict[str, torch.Tensor]:
        """What `backward` left, by parameter name."""
        trained = ((name, one) for name, one in self.layers.named_parameters() if one.requires_grad)
        return {name: parameter.grad for name, parameter in trained}


def _build(one: tuple, rule: str) -> nn.Module:
    match one:
        case ("conv", inputs, outputs):
            return nn.Conv2d(inputs, outputs, kernel_size=(3, 3), padding=(1, 1), stride=(1, 1))
        case ("norm", channels):
            return nn.BatchNorm2d(channels)
        case ("relu",):
            return nn.ReLU()
        case ("max", size):
            return nn.MaxPool2d(size)
        case ("avg", size):
            return nn.AvgPool2d(size)
        case ("flatten",):
            return nn.Flatten()
        case ("linear", inputs, outputs):
            return nn.Linear(inputs, outputs)
        case ("dropout", _):
            return operations.NDropout(0.5)
        case ("vote",):
            return operations.VotingLayer(VOTERS)
        case ("lif",):
            return _NODES[rule](threshold=THRESHOLD, decay=DECAY)
    raise ValueError(one)


class _Spatial(operations.DGLIFNode):
    def integral(self, inputs):
        super().integral(inputs.clone() if self.mem is None else inputs)


class _Temporal(operations.SGLIFNode):
    """The official code has no node for this rule: the baseline's, plus the paper's Equation 10."""

    def calc_spike(self):
        self.spike = self.act_fun(self.mem)
        residual = ALPHA * (self.spike - self.spike.detach())
        self.mem = (self.mem * (1.0 - self.spike) + residual) * self.decay


_NODES = {
    "baseline": operations.SGLIFNode,
    "spatial": _Spatial,
    "temporal": _Temporal,
    "both": operations.HTGLIFNode,
}
