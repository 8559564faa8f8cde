"""`to_source` and `to_torch`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from .._core.errors import argument_error
from ..models.base import Model
from . import lowerings as lowerings
from .blocks.arrange import arrange
from .custom_layers import check_sources
from .lowered import find_dtype
from .lowering import lower_model
from .passes.fold import fold_for_inference
from .passes.in_place import write_in_place
from .passes.merge_padding import merge_padding
from .proof.comparison import Proof, prove
from .proof.written_module import make_module
from .text.file_text import print_file
from .text.names import make_class_name

LAYOUTS = ("channels_last", "channels_first")


@dataclass(frozen=True)
class Source:
    """A model as PyTorch code.

    Attributes:
        text: The text of a Python file, which imports torch and the standard library alone.
        class_name: The model's class in it; its constructor has no arguments.
        state: The state dict, which the class's `load_state_dict` accepts strictly.
        names: The attribute of each layer -> its path in Keras, where they differ.
        proof: What was compared with the model.
    """

    text: str
    class_name: str
    state: Mapping[str, Tensor]
    names: Mapping[str, str]
    proof: Proof

    def __str__(self) -> str:
        """Return the text."""
        return self.text


def to_source(
    model: nn.Module,
    *,
    layout: str = "channels_last",
    blocks: bool = True,
    inference: bool = False,
    class_name: str | None = None,
    weights_file: str | None = None,
    sources: Mapping[str, str] | None = None,
) -> Source:
    """Return PyTorch code that computes what a loaded model computes, and prove that it does.

    Args:
        model: A model of `load_model`.
        layout: How images and volumes are passed and returned: "channels_last" as in Keras,
            "channels_first" as in torch.
        inference: Whether to fold batch normalization, drop dropout and let more activations
            overwrite their inputs: for evaluation alone.
        blocks: Whether repeated layers become blocks: classes of their own, with parameters.
        class_name: The name of the class; by default the model's in CapWords.
        weights_file: The name of the file of the state dict, for the docstring to show.
        sources: The class of a module of your own, such as "MyLayer" -> the line that imports it,
            "from mine import MyLayer". The text makes it without arguments; its state is in the
            state dict.

    Raises:
        TypeError: It is no such model.
        ValueError: Layers have no plain form in PyTorch, all of which the message lists, or an
            argument is invalid.
        ProofError: The code computes something else than the model, a RuntimeError.
    """
    if not isinstance(model, Model):
        rule = "a model of `load_model`"
        raise TypeError(argument_error("to_source", "model", rule, type(model).__name__))
    if layout not in LAYOUTS:
        raise ValueError(argument_error("to_source", "layout", f"one of {LAYOUTS}", layout))
    wanted = make_class_name(model.name if class_name is None else class_name, ())
    if class_name not in (None, wanted):
        rule = "a class name in ASCII that Python and torch have not taken"
        raise ValueError(argument_error("to_source", "class_name", rule, class_name))
    imports = check_sources(sources)
    lowered = lower_model(model, channels_first=layout == "channels_first", sources=imports)
    lowered.class_names[lowered.module] = wanted
    dtype = find_dtype(model)
    lowered.inputs = [
        one._replace(dtype=dtype) if one.dtype.is_floating_point else one for one in lowered.inputs
    ]
    merge_padding(lowered.module)
    if inference:
        lowered.module.double()  # so that what is folded is rounded once
        fold_for_inference(lowered.module)
    write_in_place(lowered.module, inference=inference)
    arrange(lowered, blocks=blocks)
    text, name = print_file(model, lowered, imports, weights_file=weights_file, inference=inference)
    proof = prove(model, lowered, text, name)
    state = _list_state(lowered.module, dtype)
    return Source(text, name, state, lowered.names, proof)


def to_torch(model: nn.Module, **options: Any) -> nn.Module:
    """Return a module of plain PyTorch that computes what a loaded model computes.

    It is an instance of the class that `to_source` writes, with the weights, in the mode and on
    the device of the model; no class of this package is in it.

    Args:
        model: As for `to_source`.
        **options: `layout`, `inference`, `blocks`, `class_name` and `sources` as for `to_source`.

    Raises:
        TypeError, ValueError, ProofError: As `to_source`.
    """
    source = to_source(model, **options)
    module = make_module(source.text, source.class_name)
    for tensor in source.state.values():
        if tensor.is_floating_point():
            module.to(tensor.device, tensor.dtype)
            break
    module.load_state_dict(source.state)
    return module.train(model.training and not options.get("inference", False))


def _list_state(module: fx.GraphModule, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return the state dict of a graph in the dtype of the model."""
    state = {name: tensor.detach() for name, tensor in module.state_dict().items()}
    return {name: one.to(dtype) if one.is_floating_point() else one for name, one in state.items()}
