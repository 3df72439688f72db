"""The same networks with SpikingJelly's multi-step modules, in the fastest way on a CPU that we found; on a GPU eager.

Convolutions, pools, linear layers, dropout and vote are SpikingJelly's in step mode "m", where time is folded into the
batch. Two modules are ours:

- The neuron. `LIFNode(tau=10.0, decay_input=False, v_threshold=0.5, surrogate_function=Rect())` is the baseline rule;
  the other rules have no node. Ours has its backward written out, so that it can be compiled. On a GPU the baseline is
  their node, which runs as PyTorch operations there too: its fused kernels know no rectangular surrogate.
- Batch normalisation. `BatchNorm2d` in step mode "m" takes its statistics over time and batch together, which makes it
  another network with another loss. Ours takes them per time step. Compiled it is about as fast: a tenth slower on the small network.
"""

import shutil
import sysconfig
from pathlib import Path

import torch
from spikingjelly.activation_based import layer, neuron, surrogate
from torch import nn
from torch.nn import functional
from torch.nn.utils import fuse_conv_bn_eval

from spec import ALPHA, DECAY, THRESHOLD, VOTERS, Case, Network


class Jelly:
    """One network with its optimizer; compiled where `torch.compile` has what it needs, unless told otherwise."""

    def __init__(self, network: Network, rule: str, time_steps: int, *, eager: bool, gpu: bool = False):
        torch.set_flush_denormal(True)
        lacks = None if eager or gpu else compiler_lacks()
        self.eager = eager or gpu or lacks is not None
        node = OwnNode if gpu and rule == "baseline" else RuleNode
        compiled = f"eager (for torch.compile {lacks} is missing)" if lacks else "eager" if self.eager else "torch.compile"
        how = [compiled, "multi-step", *([] if gpu else ["channels last"])]
        how += ["batch norm per time step", *(["its own LIFNode"] if node is OwnNode else [])]
        self.configuration = ", ".join(how)
        self.dropped = {index: one[1] for index, one in enumerate(network.layers) if one[0] == "dropout"}
        layers = nn.Sequential(*(_build(one, rule, time_steps, node) for one in network.layers))
        layout = torch.contiguous_format if gpu else torch.channels_last
        self.network = Frames(layers, network.stride, layout).to(memory_format=layout)
        self.call = self.network
        self.optimizer = torch.optim.AdamW(layers.parameters(), lr=1e-3, weight_decay=1e-4, fused=True)

    def train(self, case: Case) -> None:
        """Takes the case's parameters, and gets ready for steps."""
        self._load(case)
        self._compile(freezing=False)

    def evaluate(self, case: Case) -> None:
        """Takes the case's parameters and running statistics, and folds the latter into the convolutions."""
        self._load(case)
        layers = self.network.eval().layers
        for index, one in enumerate(layers):
            if isinstance(one, PerTimeStepNorm):
                layers[index - 1], layers[index] = fuse_conv_bn_eval(layers[index - 1], one), nn.Identity()
        self._compile(freezing=True)

    def step(self, frames: torch.Tensor, labels: torch.Tensor) -> None:
        """One training step with masks of its own."""
        self.backward(self.forward(frames, {}), labels)
        self.optimizer.step()

    def forward(self, frames: torch.Tensor, masks: dict[int, torch.Tensor]) -> torch.Tensor:
        """Mean votes `[N, classes]` for frames `[N, F, C, H, W]`; a mask that is not given is drawn."""
        for index, features in self.dropped.items():
            # Set before the call, so that given and drawn masks run the same compiled graph.
            dropout = self.network.layers[index]
            given = masks.get(index)
            dropout.mask = dropout.create_mask(frames.new_empty(len(frames), features)) if given is None else given
        return self.call(frames)

    def backward(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The loss, its gradients left in the parameters."""
        self.optimizer.zero_grad()
        loss = functional.mse_loss(outputs, functional.one_hot(labels, outputs.shape[1]).float())
        loss.backward()
        return loss

    def infer(self, frames: torch.Tensor) -> torch.Tensor:
        """Mean votes in evaluation mode."""
        with torch.inference_mode():
            return self.call(frames)

    def gradients(self) -> dict[str, torch.Tensor]:
        """What `backward` left, by parameter name."""
        return {name: parameter.grad for name, parameter in self.network.layers.named_parameters()}

    def _load(self, case: Case) -> None:
        self.network.layers.load_state_dict(case.parameters | case.buffers, strict=False)

    def _compile(self, *, freezing: bool) -> None:
        if not self.eager:
            self.call = torch.compile(self.network, dynamic=False, options={"freezing": freezing})


def compiler_lacks() -> str | None:
    """What is missing for `torch.compile` on a CPU: a C++ compiler or Python's headers."""
    if shutil.which("g++") is None:
        return "g++"
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        return "Python.h"
    return None


class Frames(nn.Module):
    """The layers, between frames `[N, F, C, H, W]` and mean votes. F is 1 under direct encoding: the first convolution
    and its batch norm then run once, and the first neurons see their result at every time step."""

    def __init__(self, layers: nn.Sequential, stride: int, layout: torch.memory_format):
        super().__init__()
        self.layout = layout
        self.layers = layers
        self.stride = stride

    def forward(self, frames):
        frames = frames.transpose(0, 1)[..., :: self.stride, :: self.stride]
        folded = frames.flatten(0, 1).contiguous(memory_format=self.layout)
        return self.layers(folded.unflatten(0, frames.shape[:2])).mean(0)


class PerTimeStepNorm(nn.BatchNorm2d):
    """Batch normalisation of `[T, N, C, H, W]` in training, with the statistics of each time step.

    A single time step that stands for all moves the running statistics as often as they would have moved it.
    """

    def __init__(self, channels: int, time_steps: int):
        super().__init__(channels)
        self.time_steps = time_steps

    def forward(self, x):
        momentum = 1 - (1 - self.momentum) ** (self.time_steps // len(x))
        if not torch.compiler.is_compiling():
            running = self.running_mean, self.running_var
            return torch.stack(
                [functional.batch_norm(one, *running, self.weight, self.bias, True, momentum) for one in x]
            )
        # The same in a form that the compiler fuses with its neighbours.
        variance, mean = torch.var_mean(x, dim=(1, 3, 4), correction=0, keepdim=True)
        count = x.shape[1] * x.shape[3] * x.shape[4]
        with torch.no_grad():
            for one_mean, one_variance in zip(mean.flatten(1), variance.flatten(1), strict=True):
                self.running_mean.lerp_(one_mean, momentum)
                self.running_var.lerp_(one_variance * (count / (count - 1)), momentum)
        scale = self.weight[:, None, None] * torch.rsqrt(variance + self.eps)
        return (x - mean) * scale + self.bias[:, None, None]


class RuleNode(neuron.BaseNode):
    """A layer of neurons that starts each sequence at rest; one time step of input stands for all."""

    def __init__(self, rule: str, time_steps: int):
        super().__init__(v_threshold=THRESHOLD, v_reset=0.0, step_mode="m")
        self.rule = rule
        self.time_steps = time_steps

    def multi_step_forward(self, x_seq):
        return Spikes.apply(x_seq, self.rule, self.time_steps)


class OwnNode(neuron.LIFNode):
    """SpikingJelly's own node, which is the baseline rule, used like [`RuleNode`]."""

    def __init__(self, rule: str, time_steps: int):
        rectangle = surrogate.Rect()
        super().__init__(
            1 / (1 - DECAY), decay_input=False, v_threshold=THRESHOLD, surrogate_function=rectangle, step_mode="m"
        )
        self.time_steps = time_steps

    def multi_step_forward(self, x_seq):
        self.reset()
        return super().multi_step_forward(x_seq.expand(self.time_steps, *x_seq.shape[1:]))


class Spikes(torch.autograd.Function):
    """u = v + I, s = (u >= threshold), v = decay * u * (1 - s), and backward d = k * g + m * (d of the next step)."""

    @staticmethod
    def forward(ctx, currents, rule, time_steps):
        potentials, spikes, v = [], [], None
        for t in range(time_steps):
            x = currents[t if len(currents) > 1 else 0]
            u = x if v is None else v + x
            fires = u >= THRESHOLD
            v = DECAY * torch.where(fires, 0.0, u)
            potentials.append(u)
            spikes.append(fires.to(u.dtype))
        ctx.save_for_backward(torch.stack(potentials))
        ctx.rule, ctx.shared = rule, len(currents) < time_steps
        return torch.stack(spikes)

    @staticmethod
    def backward(ctx, gradients):
        (potentials,) = ctx.saved_tensors
        deltas, delta = [], None
        for u, gradient in zip(reversed(potentials.unbind()), reversed(gradients.unbind()), strict=True):
            fires = u >= THRESHOLD
            keeps = torch.where(fires, 0.0, 1.0)
            if ctx.rule in ("spatial", "both"):
                k = torch.where(fires, 1.0 / u, 0.0)
                m = keeps
            else:
                k = ((u - THRESHOLD).abs() < 0.5).to(u.dtype)
                m = keeps - u * k
            if ctx.rule in ("temporal", "both"):
                m = m + ALPHA * k
            delta = k * gradient if delta is None else k * gradient + DECAY * m * delta
            deltas.append(delta)
        stacked = torch.stack(deltas[::-1])
        return stacked.sum(0, keepdim=True) if ctx.shared else stacked, None, None


def _build(one: tuple, rule: str, time_steps: int, node: type) -> nn.Module:
    match one:
        case ("conv", inputs, outputs):
            return layer.Conv2d(inputs, outputs, 3, padding=1, step_mode="m")
        case ("norm", channels):
            return PerTimeStepNorm(channels, time_steps)
        case ("relu",):
            return nn.ReLU()
        case ("max", size):
            return layer.MaxPool2d(size, step_mode="m")
        case ("avg", size):
            return layer.AvgPool2d(size, step_mode="m")
        case ("flatten",):
            return layer.Flatten(step_mode="m")
        case ("linear", inputs, outputs):
            return layer.Linear(inputs, outputs, step_mode="m")
        case ("dropout", _):
            return layer.Dropout(0.5, step_mode="m")
        case ("vote",):
            return layer.VotingLayer(VOTERS, step_mode="m")
        case ("lif",):
            return node(rule, time_steps)
    raise ValueError(one)
