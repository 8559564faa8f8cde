"""How fast are the layers of attention?

    python compat/bench/attention.py                    # some 3 minutes
    python compat/bench/attention.py --only scores --seconds 3

Self-attention beside torch's own module and beside hand-written projections and
`F.scaled_dot_product_attention`, with the same weights (see `layers.py`). A mask leaves out keys,
others for each sample. The weights of the keys, "scores", take the plain formula.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from layers import Case, compare
from torch import Tensor, nn
from torch.nn import functional as F

MOST = 1.05
HEADS, SIZE = 8, 32
FEATURES = HEADS * SIZE
SHAPES = ((1, 64, FEATURES), (32, 64, FEATURES), (8, 256, FEATURES))
OPTIONS = ("", "masked", "causal", "scores")


def make_valid(shape: tuple[int, ...]) -> Tensor:
    """Return a mask (batch, steps) with 1 valid step at least."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, shape[1] + 1, shape[:1], generator=generator)
    return torch.arange(shape[1]) < lengths[:, None]


class SelfAttention(nn.Module):
    """A layer of either library, called for self-attention with an option."""

    def __init__(self, layer: Any, option: str, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layer, self.option = layer, option
        self.call = {
            "": {},
            "masked": {"value_mask": make_valid(shape)},
            "causal": {"use_causal_mask": True},
            "scores": {"return_attention_scores": True},
        }[option]
        for name in ("get_weights", "set_weights"):
            vars(self)[name] = getattr(layer, name)

    def build(self, shape: tuple[int, ...]) -> None:
        self.layer.build(shape, shape)

    def forward(self, x: Tensor) -> Any:
        outputs = self.layer(x, x, **self.call)
        return outputs[0] if self.option == "scores" else outputs


class Dot(SelfAttention):
    """Attention without weights, which is called with a list."""

    def __init__(self, layer: Any, option: str, shape: tuple[int, ...]) -> None:
        super().__init__(layer, option, shape)
        if option == "masked":
            self.call = {"mask": [None, make_valid(shape)]}

    def build(self, shape: tuple[int, ...]) -> None:
        self.layer.build([shape, shape])

    def forward(self, x: Tensor) -> Any:
        outputs = self.layer([x, x], **self.call)
        return outputs[0] if self.option == "scores" else outputs


class AttentionCase(Case):
    """A case of a layer that is called with one of `OPTIONS`, the second word of its group."""

    __slots__ = ()

    @property
    def option(self) -> str:
        return self.group.partition(" ")[2]

    def __str__(self) -> str:
        return f"{self.option} {super().__str__()}".strip()

    def make(self, library: Any) -> Any:
        kind = Dot if self.name == "Attention" else SelfAttention
        return kind(super().make(library), self.option, self.shape)


class Hand(nn.Module):
    """What all hand-written forms share: the option, and the mask as torch takes it."""

    def __init__(self, ours: Any, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.option = ours.option
        self.causal = torch.ones(shape[1], shape[1], dtype=torch.bool).tril()
        self.valid = make_valid(shape)

    def weigh(self, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        """Weight the values (batch, heads, steps, size)."""
        if self.option == "scores":
            return torch.softmax(q * scale @ k.transpose(-2, -1), -1) @ v
        mask = self.valid[:, None, None] if self.option == "masked" else None
        causal = self.option == "causal"
        return F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal, scale=scale)


class Projections(Hand):
    """Linear projections around torch's kernel."""

    def __init__(self, ours: Any, shape: tuple[int, ...]) -> None:
        super().__init__(ours, shape)
        self.heads = ours.layer._heads
        for name in ("query", "key", "value", "output"):
            for kind in ("weight", "bias"):
                copied = getattr(ours.layer, f"{name}_{kind}").detach().clone()
                self.register_parameter(f"{name}_{kind}", nn.Parameter(copied))

    def project(self, x: Tensor, name: str, heads: int) -> Tensor:
        y = F.linear(x, getattr(self, f"{name}_weight"), getattr(self, f"{name}_bias"))
        return y.view(*x.shape[:2], heads, -1).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        q = self.project(x, "query", self.heads[0])
        k, v = (self.project(x, name, self.heads[1]) for name in ("key", "value"))
        repeats = self.heads[0] // self.heads[1]
        if repeats > 1:
            k, v = (one.repeat_interleave(repeats, 1) for one in (k, v))
        y = self.weigh(q, k, v, SIZE**-0.5)
        return F.linear(y.transpose(1, 2).flatten(2), self.output_weight, self.output_bias)


class Module(Hand):
    """`nn.MultiheadAttention`."""

    def __init__(self, ours: Any, shape: tuple[int, ...]) -> None:
        super().__init__(ours, shape)
        self.module = nn.MultiheadAttention(shape[-1], HEADS, batch_first=True)
        layer, names = ours.layer, ("query", "key", "value")
        with torch.no_grad():
            for kind, given in (("weight", "in_proj_weight"), ("bias", "in_proj_bias")):
                parts = [getattr(layer, f"{name}_{kind}") for name in names]
                getattr(self.module, given).copy_(torch.cat(parts))
                getattr(self.module.out_proj, kind).copy_(getattr(layer, f"output_{kind}"))

    def forward(self, x: Tensor) -> Tensor:
        masked, causal = self.option == "masked", self.option == "causal"
        outputs: Tensor = self.module(
            x, x, x,
            key_padding_mask=~self.valid if masked else None,
            attn_mask=~self.causal if causal else None,
            is_causal=causal,
            need_weights=self.option == "scores",
            average_attn_weights=False,
        )[0]  # fmt: skip
        return outputs


class Plain(Hand):
    """Attention without weights."""

    def forward(self, x: Tensor) -> Tensor:
        return self.weigh(*(x[:, None],) * 3, 1.0)[:, 0]


def make_hands(ours: Any, shape: tuple[int, ...]) -> Mapping[str, nn.Module]:
    if isinstance(ours, Dot):
        return {"by hand": Plain(ours, shape)}
    found: dict[str, nn.Module] = {"by hand": Projections(ours, shape)}
    if ours.layer._heads[0] == ours.layer._heads[1]:
        found["torch.nn"] = Module(ours, shape)
    return found


LAYERS = (
    ("MultiHeadAttention", {"num_heads": HEADS, "key_dim": SIZE}),
    (
        "GroupQueryAttention",
        {"head_dim": SIZE, "num_query_heads": HEADS, "num_key_value_heads": 2},
    ),
    ("Attention", {}),
)
CASES = [
    AttentionCase(f"{name} {option}".strip(), name, arguments, shape, make_hands)
    for name, arguments in LAYERS
    for option in OPTIONS
    for shape in SHAPES
]

if __name__ == "__main__":
    compare(CASES, {}, "Time the attention layers of kerastorch.layers.", MOST)
