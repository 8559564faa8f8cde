"""Writes ONNX files, and runs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnxruntime
import torch
from torch import Tensor, nn


def to_onnx(
    module: nn.Module,
    arguments: tuple[Any, ...],
    moving: Any,
    inspect: Callable[[bytes], object] = len,
) -> onnxruntime.InferenceSession:
    """Return the session of a module exported with the axes in `moving` left open.

    `inspect` is called with the file.
    """
    program = torch.onnx.export(
        module, arguments, dynamic_shapes=moving, dynamo=True, verbose=False
    )
    assert program is not None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    written = program.model_proto.SerializeToString()
    inspect(written)
    return onnxruntime.InferenceSession(written, options, providers=["CPUExecutionProvider"])


def run(session: onnxruntime.InferenceSession, *arguments: Any) -> list[Tensor]:
    """Return the outputs for tensors, or for one list of them."""
    tensors = arguments[0] if isinstance(arguments[0], list) else arguments
    names = [one.name for one in session.get_inputs()]
    given = {name: x.numpy() for name, x in zip(names, tensors, strict=True)}
    return [torch.from_numpy(found) for found in session.run(None, given)]
