"""Models of configs and weights, and how their outputs and masks are compared."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch.testing import assert_close

from kerastorch.graph.structure import flatten
from kerastorch.models.build import build_model
from kerastorch.saving.configs.parse import parse_model_config
from tests.models.configs import build_all


def load(config: Any, version: str, weights: Iterable[tuple[str, Any]]) -> Any:
    """Return the model of a config, with weights by the paths of layers, in evaluation mode."""
    model = build_model(parse_model_config(config, "config.json", version))
    build_all(model)
    for path, arrays in weights:
        if arrays:
            find_layer(model, path).set_weights(arrays)
    return model.eval()


def find_layer(model: Any, path: str) -> Any:
    """Return the layer of a path, as "first/dense"."""
    for name in path.split("/"):
        model = model.layers[name]
    return model


def run(model: Any, arrays: list[np.ndarray]) -> tuple[list[torch.Tensor], list[Any]]:
    """Return the outputs of a model, and their masks."""
    inputs, masks = [torch.from_numpy(x) for x in arrays], []
    outputs = model(inputs if len(inputs) > 1 else inputs[0], output_masks=masks)
    return list(flatten(outputs)), list(flatten(masks[0]))


def assert_same(found: tuple[list[Any], list[Any]], outputs: list[Any], masks: list[Any]) -> None:
    """Compare outputs and masks with those of Keras."""
    assert [one is None for one in found[1]] == [one is None for one in masks]
    for one, wanted in zip(found[0], outputs, strict=True):
        assert_close(one, torch.as_tensor(wanted), rtol=1e-5, atol=2e-6, equal_nan=True)
    for one, wanted in zip(found[1], masks, strict=True):
        assert one is None or torch.equal(one, torch.as_tensor(wanted))
