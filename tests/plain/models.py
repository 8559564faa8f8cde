"""Models of one layer, and their plain PyTorch, compared."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kerastorch.models.base import Model
from kerastorch.models.build import build_model
from kerastorch.plain.api import to_source
from kerastorch.plain.proof import measure
from kerastorch.plain.reference import compute_in_double, make_reference
from kerastorch.plain.written_module import make_module
from kerastorch.saving.configs.parse import parse_model_config
from tests.layers.case import LayerCase
from tests.models.configs import build_all, functional, input_layer, layer, node, tensor


def build(config: dict[str, Any], seed: int = 0) -> Model:
    """Build the model of a config, with random weights and positive variances."""
    model = build_model(parse_model_config(config, "config.json", "3.15.1"))
    build_all(model)
    generator = torch.Generator().manual_seed(seed)
    for name, one in model.state_dict().items():
        if one.is_floating_point():
            drawn = torch.randn(one.shape, generator=generator, dtype=torch.float64).to(one.dtype)
            one.copy_(drawn.abs() + 0.5 if "var" in name else 0.5 * drawn)
    return model.eval()


def model_of(case: LayerCase, *, sized: bool = True) -> Model:
    """Return a Functional model of one row's layer; not `sized`: of images of any size."""
    shapes = case.shape if isinstance(case.shape, list) else [case.shape]
    names = [f"input_{n}" for n in range(len(shapes))]
    inputs = []
    for name, (_, *rest) in zip(names, shapes, strict=True):
        first = "channels_first" in (getattr(case.make(), "data_format", ""),)
        channels = 0 if first else len(rest) - 1
        shape = [n if sized or axis == channels else None for axis, n in enumerate(rest)]
        inputs.append(input_layer(name, (None, *shape)))
    config = case.make().get_config()
    config.pop("name")
    refs: Any = [tensor(name) for name in names]
    call = node(refs if isinstance(case.shape, list) else refs[0])
    one = layer(case.layer.registered_name, "the_layer", [call], **config)
    ends = [[name, 0, 0] for name in names]
    return build(functional(*inputs, one, inputs=ends, outputs=[["the_layer", 0, 0]]))


def assert_plain(model: Model, inputs: list[Tensor], **options: Any) -> str:
    """Compare a model with the code of it, in double precision; return the text."""
    source = to_source(model, **options)
    plain = make_module(source.text, source.class_name).double()
    plain.load_state_dict(source.state)
    reference = make_reference(model)
    plain.eval()
    inputs = [x.double() if x.is_floating_point() else x for x in inputs]
    with torch.no_grad(), compute_in_double():
        wanted = reference(inputs[0] if len(inputs) == 1 else inputs)
        found = plain(*inputs)
    for a, b in zip(_listed(wanted), _listed(found), strict=True):
        assert measure(a, b) <= 1e-12
    return source.text


def _listed(outputs: Any) -> list[Tensor]:
    return list(torch.utils._pytree.tree_leaves(outputs))
