"""What do penalties and constraints cost on a model of the size of ResNet-50?

    python compat/bench/penalties.py                       # about a minute
    python compat/bench/penalties.py --device cuda

The weights are the 53 kernels of ResNet-50, 23.5 million numbers, in layers of kerastorch.

- `l2`: `kerastorch.regularization_loss(model)` with its backward pass, beside the sum of
  `factor * kernel.square().sum()`, kernel by kernel, with its own.
- `max_norm`, `non_neg`: `kerastorch.apply_constraints(model)` beside the same formula written out
  kernel by kernel, in place: `kernel *= norms.clamp(0, 2) / (1e-7 + norms)` with
  `norms = kernel.square().sum((0, 1, 2), keepdim=True).sqrt()`, and `kernel *= kernel >= 0`.

All ways of one question run in every round, in random order; the median of the ratios within rounds
is reported with its quartiles. The clock is the process's CPU time.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import torch
from timing import CLOCKS, cuda_timer, host_timer, interleave, keep_freed_memory
from torch import Tensor, nn

import kerastorch
from kerastorch.layers import Conv2D

FACTOR = 1e-4
BARS = {"l2": 0.5, "max_norm": 0.6, "non_neg": 0.2}


def kernels() -> Iterator[tuple[int, int, int]]:
    """Yield the size, inputs and filters of ResNet-50's convolutions."""
    yield 7, 3, 64
    channels = 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            if block == 0:
                yield 1, channels, 4 * width
            yield 1, channels, width
            yield 3, width, width
            yield 1, width, 4 * width
            channels = 4 * width


def resnet(device: str, **rules: object) -> nn.ModuleList:
    layers = [
        Conv2D(filters, size, use_bias=False, input_shape=(None, None, channels), **rules)
        for size, channels, filters in kernels()
    ]
    return nn.ModuleList(layers).to(device)


def backward(penalty: Tensor, model: nn.Module) -> None:
    penalty.backward()
    for parameter in model.parameters():
        parameter.grad = None


def l2(device: str) -> tuple[Callable[[], None], Callable[[], None]]:
    model = resnet(device, kernel_regularizer=kerastorch.regularizers.L2(FACTOR))

    def by_hand() -> Tensor:
        return sum((FACTOR * layer.kernel.square().sum() for layer in model), torch.zeros(()))

    exact = sum(FACTOR * layer.kernel.detach().double().square().sum() for layer in model)
    with torch.no_grad():
        ways = {"kerastorch": kerastorch.regularization_loss(model), "by hand": by_hand()}
    errors = [f"{name} {abs(float(value / exact) - 1):.1e}" for name, value in ways.items()]
    print(f"l2, relative error: {', '.join(errors)}")
    return (
        lambda: backward(kerastorch.regularization_loss(model), model),
        lambda: backward(by_hand(), model),
    )


def max_norm(device: str) -> tuple[Callable[[], None], Callable[[], None]]:
    model = resnet(device, kernel_constraint=kerastorch.constraints.MaxNorm(2, [0, 1, 2]))

    @torch.no_grad()
    def by_hand() -> None:
        for layer in model:
            norms = layer.kernel.square().sum((0, 1, 2), keepdim=True).sqrt()
            layer.kernel.mul_(norms.clamp(0, 2) / (1e-7 + norms))

    return lambda: kerastorch.apply_constraints(model), by_hand


def non_neg(device: str) -> tuple[Callable[[], None], Callable[[], None]]:
    model = resnet(device, kernel_constraint="non_neg")

    @torch.no_grad()
    def by_hand() -> None:
        for layer in model:
            layer.kernel.mul_(layer.kernel >= 0)

    return lambda: kerastorch.apply_constraints(model), by_hand


def main() -> None:
    parser = argparse.ArgumentParser(description="Time penalties and constraints.")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=10.0, help="default: %(default)s")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    timer = cuda_timer() if options.device == "cuda" else host_timer(CLOCKS["cpu"])
    for question in (l2, max_norm, non_neg):
        name = question.__name__
        ours, by_hand = question(options.device)
        rounds = interleave({"ours": ours, "by hand": by_hand}, timer, options.seconds, 7)
        ratio = rounds.ratio("ours", "by hand")
        word = "ok" if ratio.median <= BARS[name] else "missed"
        milliseconds = f"{rounds.milliseconds('by hand'):.1f} ms"
        print(f"{name:10} {ratio} of {milliseconds}, bar {BARS[name]}  {word}")


if __name__ == "__main__":
    main()
