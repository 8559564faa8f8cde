"""Models of one layer, and their plain PyTorch, compared."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from kerastorch.layers.attention.projections import HeadProjections
from kerastorch.models.base import Model
from kerastorch.models.build import build_model
from kerastorch.plain.api import to_source, to_torch
from kerastorch.plain.proof.comparison import measure
from kerastorch.plain.proof.reference import compute_in_double, make_reference
from kerastorch.plain.proof.written_module import make_module
from kerastorch.saving.configs.parse import parse_model_config
from kerastorch.saving.weights.module_weights import list_unbuilt_layers
from tests.layers.case import LayerCase
from tests.models.configs import Config, functional, input_layer, layer, node, sequential, tensor


def build(config: dict[str, Any], seed: int = 0) -> Model:
    """Build the model of a config, with random weights and positive variances."""
    model = build_model(parse_model_config(config, "config.json", "3.15.1"))
    for _, one, shape in list_unbuilt_layers(model):
        several = isinstance(one, HeadProjections) and isinstance(shape[0], (list, tuple))
        one.build(*shape) if several else one.build(shape)
    generator = torch.Generator().manual_seed(seed)
    zeros = [name for name, _ in model.named_buffers() if "bias_hh" in name]  # of Keras's one bias
    for name, one in model.state_dict().items():
        if one.is_floating_point() and name not in zeros:
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


def assert_plain_and_trains_alike(config: Any, *inputs: Tensor) -> str:
    """Compare outputs, and the gradients of all weights in training; return the text."""
    model = build(config)
    found = assert_plain(model, list(inputs))
    assert_trains_alike(model, inputs)
    return found


def assert_trains_alike(model: Model, inputs: Any) -> None:
    """Compare the sums of squares of all gradients: weights may be stored in another order."""
    plain, model = to_torch(model).double(), copy.deepcopy(model).double()
    given = [x.double() if x.is_floating_point() else x for x in inputs]
    totals = []
    for one in (model.train(), plain.train()):
        is_loaded = one is model and len(given) > 1
        outputs = one(given) if is_loaded else one(*given)
        leaves = torch.utils._pytree.tree_leaves(outputs)
        sum((y * torch.linspace(0.5, 1, y.numel()).view(y.shape)).sum() for y in leaves).backward()
        gradients = [p.grad for p in one.parameters() if p.grad is not None]
        totals.append(torch.stack([g.square().sum() for g in gradients]).sum())
    assert measure(*totals) < 1e-10


def _listed(outputs: Any) -> list[Tensor]:
    return list(torch.utils._pytree.tree_leaves(outputs))


def one(class_name: str, name: str, *before: str, **config: Any) -> Config:
    """Return a layer that is called once, on one tensor or a list."""
    refs: Any = [tensor(name) for name in before]
    made = layer(class_name, name, [node(refs[0] if len(refs) == 1 else refs)], **config)
    return {**made, "module": "keras.layers"}


def images(shape: Any = (None, 8, 9, 3), **config: Any) -> Config:
    """Return a small network of images with all that folds, and what must not."""
    conv = {"kernel_size": 3, "use_bias": False}
    return functional(
        input_layer("images", shape),
        one("ZeroPadding2D", "pad", "images", padding=1),
        one("Conv2D", "conv_a", "pad", filters=4, **conv),
        one("BatchNormalization", "bn_a", "conv_a", epsilon=1e-3, momentum=0.75),
        one("ReLU", "relu_a", "bn_a", max_value=6),
        one("Conv2D", "conv_b", "relu_a", filters=5, **conv),
        one("BatchNormalization", "bn_b", "conv_b", scale=False),
        one("BatchNormalization", "bn_c", "conv_b", center=False),  # reads it, too
        one("Add", "add", "bn_b", "bn_c"),
        one("Dropout", "drop", "add", rate=0.25),
        one("Activation", "act", "drop", activation="relu"),
        one("Flatten", "flat", "act"),
        one("Dense", "hidden", "flat", units=6),
        one("BatchNormalization", "bn_d", "hidden"),
        one("Dense", "out", "bn_d", units=2, activation="softmax"),
        inputs=["images", 0, 0],
        outputs=["out", 0, 0],
        name="images_net",
        **config,
    )


def nested(times: int = 2) -> Config:
    """Return a model that calls a nested model several times."""
    inner = sequential(
        input_layer("inner_in", (None, 6, 5, 2)),
        layer("Conv2D", "inner_conv", filters=3, kernel_size=2, activation="relu"),
        layer("GlobalAveragePooling2D", "inner_pool"),
        name="branch",
    )
    names = [f"in_{n}" for n in range(times)]
    calls = [node(tensor(name)) for name in names]
    called = {**inner, "name": "branch", "inbound_nodes": calls}
    ends = [tensor("branch", n) for n in range(times)]
    return functional(
        *(input_layer(name, (None, 6, 5, 2)) for name in names),
        called,
        {**layer("Concatenate", "join", [node(ends)]), "module": "keras.layers"},
        one("Dense", "out", "join", units=2),
        inputs=[[name, 0, 0] for name in names],
        outputs=["out", 0, 0],
        name="siamese",
    )
