"""How fast are the recurrent layers, and how much memory does a train step keep?

    python compat/bench/recurrent.py                    # some 5 minutes
    python compat/bench/recurrent.py --only LSTM --seconds 3

Layers that return all outputs, beside torch's own module with the same weights (see `layers.py`).
With a mask that means packed sequences; what the module takes and keeps where it computes the
padding, too, is the row of the layer without a mask. The groups are named after the batch, the
steps and the units.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from layers import Case, compare
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import kerastorch

MOST = 1.05
SIZES = ((1, 50, 64, 64), (32, 50, 64, 128), (32, 200, 128, 256))  # batch, steps, features, units
KERAS_BARS = {
    "LSTM 1x50x64": (8.0, 4.0),
    "LSTM 32x50x128": (2.0, 4.0),
    "LSTM 32x200x256": (1.6, 4.0),
    "LSTM masked 1x50x64": (40.0, 30.0),
    "LSTM masked 32x50x128": (4.0, 2.0),
    "LSTM masked 32x200x256": (4.0, 2.0),
    "GRU 1x50x64": (1.3, 1.6),
    "GRU 32x50x128": (1.3, 1.6),
    "GRU 32x200x256": (1.3, 1.6),
}


def make_lengths(shape: tuple[int, ...]) -> Tensor:
    """Return a number of valid steps, 1 at least, for each sample."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(1, shape[1] + 1, shape[:1], generator=generator)


def make_mask(shape: tuple[int, ...]) -> Tensor:
    return torch.arange(shape[1]) < make_lengths(shape)[:, None]


class Masked(nn.Module):
    """A layer of either library that is called with a mask."""

    def __init__(self, layer: Any, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layer, self.mask = layer, make_mask(shape)
        for name in ("build", "get_weights", "set_weights"):
            vars(self)[name] = getattr(layer, name)

    def forward(self, x: Tensor) -> Any:
        return self.layer(x, mask=self.mask)


class MaskedCase(Case):
    """A case whose layer is called with a mask."""

    __slots__ = ()

    def __str__(self) -> str:
        return f"masked {super().__str__()}"

    def make(self, library: Any) -> Any:
        return Masked(super().make(library), self.shape)


class Plain(nn.Module):
    """The outputs of torch's own module."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.module = layer.to_torch(copy=True).requires_grad_(True)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.module(x)[0]
        return outputs


class Packed(Plain):
    """Those of a packed sequence, the last one repeated after the end."""

    def __init__(self, masked: Any, shape: tuple[int, ...]) -> None:
        super().__init__(masked.layer)
        self.lengths = make_lengths(shape)
        self.mask = make_mask(shape)[..., None]

    def forward(self, x: Tensor) -> Tensor:
        packed = pack_padded_sequence(x, self.lengths, batch_first=True, enforce_sorted=False)
        y, _ = pad_packed_sequence(self.module(packed)[0], True, total_length=x.shape[1])
        last = (self.lengths - 1).view(-1, 1, 1).expand(-1, 1, y.shape[2])
        return torch.where(self.mask, y, y.gather(1, last))


def make_hands(layer: Any, shape: tuple[int, ...]) -> Mapping[str, nn.Module]:
    return {"torch.nn": Plain(layer)}


def make_masked_hands(layer: Any, shape: tuple[int, ...]) -> Mapping[str, nn.Module]:
    return {"packed": Packed(layer, shape)}


CASES = [
    kind(
        f"{name}{text} {batch}x{steps}x{units}",
        name,
        {"units": units, "return_sequences": True},
        (batch, steps, features),
        hands,
    )
    for name in ("LSTM", "GRU")
    for kind, text, hands in ((Case, "", make_hands), (MaskedCase, " masked", make_masked_hands))
    for batch, steps, features, units in SIZES
]


def measure_kept(module: nn.Module, shape: tuple[int, ...]) -> int:
    """Return how many bytes a call keeps for its gradient."""
    sizes: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        outputs = module(torch.randn(shape, requires_grad=True))
    del outputs
    return sum(sizes.values())


def print_kept() -> None:
    """Print what a call keeps for its gradient beside torch's own module, as a table."""
    print("\nkept for the gradient, MB\n")
    print("| layers | kerastorch | torch.nn | with packed sequences |\n| --- | --- | --- | --- |")
    for case in CASES:
        ours = case.make(kerastorch.layers)
        ours(torch.randn(case.shape))
        hand = next(iter(case.hands(ours, case.shape).values()))
        is_masked = isinstance(ours, Masked)
        modules = [ours, Plain(ours.layer), hand] if is_masked else [ours, hand]
        kept = [f"{measure_kept(one, case.shape) / 1e6:.3f}" for one in modules]
        print(f"| {case.group} | {' | '.join(kept)} |{'' if is_masked else ' |'}")


if __name__ == "__main__":
    compare(CASES, KERAS_BARS, "Time the recurrent layers of kerastorch.layers.", MOST)
    print_kept()
