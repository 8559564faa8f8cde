"""Models whose lowering is tested, and how."""

from __future__ import annotations

import torch
from torch import nn

from kerastorch.models import base
from kerastorch.models.build import build_model
from kerastorch.saving.configs.parse import parse_model_config
from tests.models.configs import build_all, functional, input_layer, layer, node, sequential, tensor

SHAPE = (3, 5, 4, 2)  # that of the input, batch included


def conv(name, before=None, **config):
    nodes = None if before is None else [node(tensor(before))]
    return layer("Conv2D", name, nodes, filters=4, kernel_size=[2, 3], padding="same", **config)


def one(class_name, name, before=None, **config):
    entry = layer(class_name, name, None if before is None else [node(tensor(before))], **config)
    return {**entry, "module": "keras.layers"}


def merged(class_name, name, *before, **config):
    entry = layer(class_name, name, [node([tensor(each) for each in before])], **config)
    return {**entry, "module": "keras.layers"}


def add(name, *before):
    return merged("Add", name, *before)


def residual(activation="relu", axis=-1):
    """Return a block whose first activation has two readers, and whose addition is an output."""
    entries = [
        input_layer("x", (None, *SHAPE[1:])),
        conv("conv0", "x"),
        one("BatchNormalization", "bn0", "conv0", axis=axis),
        one("Activation", "act0", "bn0", activation=activation),
        conv("conv1", "act0"),
        one("ReLU", "act1", "conv1"),
        add("sum", "act0", "act1"),
        one("Activation", "act2", "sum", activation=activation),
        conv("conv2", "act2", activation="relu"),
        one("Activation", "act3", "conv2", activation="tanh"),
        add("last", "act3", "act2"),
        one("ReLU", "act4", "last", max_value=1.5),
    ]
    return functional(*entries, inputs=["x", 0, 0], outputs=[["act4", 0, 0], ["sum", 0, 0]])


def branched(activation="relu", axis=-1):
    """Return a block with outputs that are, and are made of, what its activations get."""
    entries = [
        input_layer("x", (None, *SHAPE[1:])),
        conv("conv0", "x"),
        one("BatchNormalization", "bn0", "conv0", axis=axis),
        one("Dropout", "same", "bn0", rate=0.5),  # hands on its input where it drops nothing
        one("Activation", "act0", "bn0", activation=activation),
        conv("conv1", "x"),
        conv("conv2", "conv1"),  # needs its input for the gradient
        one("ReLU", "act1", "conv1"),
    ]
    names = ("act0", "same", "act1", "conv2")  # the last are called first
    return functional(*entries, inputs=["x", 0, 0], outputs=[[name, 0, 0] for name in names])


def plain(activation="relu", axis=-1):
    return sequential(
        input_layer("x", (None, *SHAPE[1:])),
        conv("conv0"),
        one("BatchNormalization", "bn0", axis=axis),
        one("Activation", "act0", activation=activation),
        one("Flatten", "flat"),
        layer("Dense", "dense", units=3),
        one("ReLU", "act1"),
    )


MODELS = {"functional": residual, "branched": branched, "sequential": plain}


def built(config, custom_objects=None, **options):
    torch.manual_seed(4)
    parsed = parse_model_config(config, "config.json")
    model = build_model(parsed, custom_objects=custom_objects, **options)
    build_all(model)
    return model


def batch():
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))


def forbid(monkeypatch):
    """Let every layer be called as it is."""
    monkeypatch.setattr(base, "select_mode", lambda inputs: None)


def lowered(model, training=False):
    """Return the layers that are lowered now, and whether each may overwrite an input."""
    names = {attribute: name for name, attribute in model._attributes.items()}
    program = model._program
    assert program.is_current(model._modules)
    return {
        names[one.attribute]: "inplace" in one.options[int(training)]
        for one in program.instructions
        if one.attribute is not None
    }


def results(model, training, dtype=torch.float64):
    """Return outputs, and in training gradients and buffers."""
    model.to(dtype).train(training)
    torch.manual_seed(5)
    with torch.set_grad_enabled(training):
        outputs = model(batch().to(dtype))
        outputs = outputs if isinstance(outputs, list) else [outputs]
        if not training:
            return outputs
        loss = sum(y.square().sum() for y in outputs)
        gradients = torch.autograd.grad(loss, list(model.parameters()))
    return [*outputs, *gradients, *model.buffers()]


def ignore(*args):
    return None


EVERYWHERE = {
    "forward": nn.modules.module.register_module_forward_hook,
    "before forward": nn.modules.module.register_module_forward_pre_hook,
    "backward": nn.modules.module.register_module_full_backward_hook,
    "before backward": nn.modules.module.register_module_full_backward_pre_hook,
}
