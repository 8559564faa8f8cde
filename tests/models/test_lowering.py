"""What is decided about a model when it is built, and when a call goes through the plain layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from kerastorch.layers import Add, Conv2D, ReLU
from kerastorch.models import base
from kerastorch.models.build import build_model
from kerastorch.saving.configs.parse import parse_model
from kerastorch.saving.weights.unbuilt import initialize
from tests.models.configs import functional, input_layer, layer, node, sequential, tensor

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


MODELS = {
    "functional": residual,
    "branched": branched,
    "sequential": plain,
}


def built(config, custom_objects=None, **options):
    torch.manual_seed(4)
    parsed = parse_model(config, "config.json")
    model = build_model(parsed, custom_objects=custom_objects, **options)
    initialize(model)
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


@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("activation", ["relu", "silu", "softmax", "elu", "linear", torch.cos])
@pytest.mark.parametrize("name", MODELS)
def test_outputs_and_gradients_are_those_of_plain_calls(name, activation, training, monkeypatch):
    objects = {"mine": activation} if callable(activation) else {}
    config = MODELS[name]("mine" if objects else activation)
    found = results(built(config, objects), training)
    forbid(monkeypatch)
    assert_close(found, results(built(config, objects), training))


# Whether each layer that is lowered overwrites an input, without gradients and with them
EXPECTED = {
    "functional": {
        **dict.fromkeys(("conv0", "bn0", "conv1", "conv2"), (False, False)),
        **dict.fromkeys(("act0", "act1"), (True, True)),
        "sum": (True, False),  # the second activation's output, which its gradient needs
        "act2": (False, False),  # the sum is an output of the model
        "act3": (True, False),  # the convolution's activation needs its output
        "last": (True, False),
        "act4": (True, True),
    },
    "branched": dict.fromkeys(
        ("conv0", "bn0", "same", "act0", "conv1", "conv2", "act1"), (False, False)
    ),
    "sequential": {
        **dict.fromkeys(("conv0", "bn0", "flat", "dense"), (False, False)),
        **dict.fromkeys(("act0", "act1"), (True, True)),
    },
}


@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("name", EXPECTED)
def test_what_may_be_overwritten(name, training):
    model = built(MODELS[name]())
    assert lowered(model, training) == {k: both[training] for k, both in EXPECTED[name].items()}


def summed(before, **config):
    """Return the sum of two layers of a class, of which an activation is made."""
    entries = [
        input_layer("x", (None, *SHAPE[1:])),
        one(before, "left", "x"),
        one(before, "right", "x"),
        add("sum", "left", "right"),
        one("ReLU", "act", "sum", **config),
    ]
    return functional(*entries, inputs=["x", 0, 0], outputs=[["act", 0, 0]])


@pytest.mark.parametrize("limit", [None, 6, 6.0])
def test_sums_and_activations_overwrite_what_is_theirs_alone(limit):
    model = built(summed("BatchNormalization", max_value=limit))
    assert lowered(model)["sum"] and lowered(model, training=True)["sum"]
    addresses = []
    for module in (model.left, model.sum, model.act):
        compute = module._compute
        module._compute = lambda x, compute=compute, **options: (
            addresses.append((y := compute(x, **options)).data_ptr()) or y
        )
    for way in (torch.no_grad, torch.enable_grad):
        addresses.clear()
        with way():
            model(batch())
        assert len({*addresses}) == 1 and len(addresses) == 3
    assert not lowered(built(summed("ReLU")))["left"]  # the input is the user's
    assert not lowered(built(summed("ReLU")), training=True)["sum"]


def test_images_keep_their_axes():
    """Between the layers nothing permutes them."""
    model = built(plain()).train()
    y = model(batch())
    names, found = [y.grad_fn], []
    while names:
        node = names.pop()
        if node is not None:
            found.append(node.name())
            names += [before for before, _ in node.next_functions]
    assert found.count("PermuteBackward0") <= 2  # before Flatten, and of the Dense layer's weight


def test_hooks_see_what_a_layer_returned(monkeypatch):
    """A hook keeps what a layer gave, and an output of the model is not written over."""
    model = built(residual()).eval()
    kept, again = {}, {}

    def keep(found):
        for name in ("bn0", "conv1"):
            model.get_submodule(name).register_forward_hook(
                lambda module, args, y, name=name: found.setdefault(name, y)
            )

    keep(kept)
    with torch.no_grad():
        _, total = model(batch())
        forbid(monkeypatch)
        keep(again)
        assert_close(total, model(batch())[1])
    assert_close(kept, again)
    assert (kept["bn0"] < 0).any()


def ignore(*args):
    return None


HOOKS = {
    "forward": lambda layer: layer.register_forward_hook(ignore),
    "before forward": lambda layer: layer.register_forward_pre_hook(ignore),
    "backward": lambda layer: layer.register_full_backward_hook(ignore),
    "before backward": lambda layer: layer.register_full_backward_pre_hook(ignore),
}
EVERYWHERE = {
    "forward": nn.modules.module.register_module_forward_hook,
    "before forward": nn.modules.module.register_module_forward_pre_hook,
    "backward": nn.modules.module.register_module_full_backward_hook,
    "before backward": nn.modules.module.register_module_full_backward_pre_hook,
}


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hooked_layer_is_called(hook):
    model = built(plain())
    before = lowered(model)
    handle = HOOKS[hook](model.bn0)
    model(batch())
    # Of what the layer returns nothing is known, so that the next one is called as it is, too.
    assert lowered(model) == {name: before[name] for name in ("conv0",)}
    handle.remove()
    model(batch())
    assert lowered(model) == before


@pytest.mark.parametrize("hook", EVERYWHERE)
def test_a_hook_of_all_modules_sees_all_layers_called(hook):
    model, seen = built(plain()).eval(), []
    for module in model.children():
        module.register_forward_hook(lambda module, *arguments: seen.append(module.name))
    handle = EVERYWHERE[hook](ignore)
    try:
        model(batch())
    finally:
        handle.remove()
    assert seen == ["conv0", "bn0", "act0", "flat", "dense", "act1"]


class Capped(ReLU):
    def forward(self, inputs):
        return super().forward(inputs).clamp(max=0.5)


class Keeping(Conv2D):
    def forward(self, inputs):
        self.kept = super().forward(inputs)
        return self.kept


def test_classes_of_others_do_what_they_say():
    config = sequential(input_layer("x", (None, *SHAPE[1:])), conv("conv0"), one("ReLU", "act0"))
    for entry, kind in zip(config["config"]["layers"][1:], (Keeping, Capped), strict=True):
        entry.update(class_name=kind.__name__, module=None, registered_name=kind.__name__)
    model = built(
        config, custom_layers={kind.__name__: kind.from_config for kind in (Keeping, Capped)}
    )
    with torch.no_grad():
        y = model(batch())
    assert lowered(model) == {}
    assert float(y.max()) == 0.5
    assert (model.conv0.kept < 0).any()


def test_a_forward_in_the_place_of_the_layer_s_is_called():
    model = built(plain()).eval()
    model.act0.forward = torch.zeros_like
    with torch.no_grad():
        y = model(batch())
    assert_close(y, model.act1(model.dense.bias.expand_as(y)))


def test_a_module_in_the_place_of_a_layer_is_trusted_with_nothing(monkeypatch):
    """An identity hands on what others may read."""
    model = built(residual()).eval()
    with torch.no_grad():
        expected = model(batch())
    model.bn0 = nn.Identity()
    with torch.no_grad():
        outputs = model(batch())
    assert not lowered(model).get("act0")
    assert "bn0" not in lowered(model)
    forbid(monkeypatch)
    with torch.no_grad():
        assert_close(outputs, model(batch()))
    assert not torch.equal(outputs[0], expected[0])


@pytest.mark.parametrize("activity", ["bn0", "act0"])
def test_activity_terms_keep_their_numbers(activity, monkeypatch):
    results = []
    for _ in range(2):
        model = built(plain())
        model.get_submodule(activity).activity_regularizer = "l2"
        y = model(batch())
        (y.square().sum() + sum(model.losses)).backward()
        results.append([p.grad for p in model.parameters()])
        forbid(monkeypatch)
    assert_close(*results)


def test_what_does_not_go_together_is_told_by_the_layer():
    model = built(residual())
    model.act1 = nn.ConstantPad2d(1, 0.0)
    with pytest.raises(ValueError, match="Add: `inputs` must be of sizes that are equal or 1"):
        model(batch())
    model = built(plain())
    model.bn0 = Conv2D(3, 1, input_shape=(None, None, 5))
    with pytest.raises(ValueError, match="Conv2D: `inputs` must be of 5 channels"):
        model(batch())


@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("name", MODELS)
def test_under_autocast_the_layers_are_called(name, training, monkeypatch):
    with torch.autocast("cpu", torch.bfloat16):
        found = results(built(MODELS[name]()), training, torch.float32)
        forbid(monkeypatch)
        assert_close(found, results(built(MODELS[name]()), training, torch.float32))


def pooled(**config):
    """Return zeros around what an activation gives, and a pooling of it."""
    entries = [
        input_layer("x", (None, *SHAPE[1:])),
        one("ReLU", "act", "x"),
        one("ZeroPadding2D", "pad", "act", padding=1),
        one("MaxPooling2D", "max", "pad", pool_size=3, **config),
    ]
    return functional(*entries, inputs=["x", 0, 0], outputs=[["max", 0, 0]])


@pytest.mark.parametrize("dtype", ["float16", "float64", "mixed_bfloat16"])
def test_a_pooling_computes_in_its_own_type(dtype, monkeypatch):
    """Where it pads by itself, too."""
    found = built(pooled(dtype=dtype))(batch())
    forbid(monkeypatch)
    assert_close(found, built(pooled(dtype=dtype))(batch()))


@pytest.mark.parametrize(
    ("name", "new", "message"),
    [
        ("act3", Add(), "Add: `inputs` must be a list"),
        ("sum", ReLU(), "ReLU: `inputs` must be a tensor"),
        ("sum", Conv2D(4, 1, input_shape=(5, 4, 4)), "Conv2D: `inputs` must be a tensor"),
    ],
)
def test_lists_and_tensors_are_told_apart(name, new, message):
    model = built(residual())
    setattr(model, name, new)
    with pytest.raises(ValueError, match=message):
        model(batch())


HANDING_ON = {
    "nothing between": None,
    "dropout": ("Dropout", {"rate": 0.5}),
    "linear activation": ("Activation", {"activation": "linear"}),
}


@pytest.mark.parametrize("between", HANDING_ON)
def test_a_padding_comes_before_what_is_written_later(between):
    """A module in the place of a layer may overwrite what it shares with a ZeroPadding2D."""
    handing_on = HANDING_ON[between]
    entries = [
        input_layer("x", (None, *SHAPE[1:])),
        conv("conv0", "x"),
        *([one(handing_on[0], "same", "conv0", **handing_on[1])] if handing_on else []),
        one("ZeroPadding2D", "pad", "same" if handing_on else "conv0", padding=1),
        one("ReLU", "act", "conv0"),
        {**conv("conv1", "pad"), "padding": "valid"},
    ]
    names = ("conv1", "act")
    config = functional(*entries, inputs=["x", 0, 0], outputs=[[name, 0, 0] for name in names])
    model = built(config).eval()
    with torch.no_grad():
        expected = model(batch())
        model.act = nn.ReLU(inplace=True)
        assert_close(model(batch()), expected)


@pytest.mark.filterwarnings("ignore:.*global hooks on modules:UserWarning")
@pytest.mark.parametrize(
    "hook", ["forward", pytest.param("before forward", marks=pytest.mark.sweep)]
)
def test_a_hook_of_all_modules_is_in_the_graph(hook):
    model, seen = built(plain()), []
    handle = EVERYWHERE[hook](lambda module, *arguments: seen.append(type(module).__name__))
    try:
        torch.compile(model, backend="eager")(batch())
    finally:
        handle.remove()
        torch.compiler.reset()
    assert {"Conv2D", "BatchNormalization", "Activation", "Dense", "ReLU"} <= set(seen)


@pytest.mark.parametrize("way", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_what_an_activation_hands_on_is_not_overwritten(way):
    """One that changes nothing gives the tensor that it got, which others may read."""
    entries = [
        input_layer("x", (None, *SHAPE[1:])),
        conv("conv0", "x"),
        one("Activation", "same", "conv0", activation="linear"),
        one("ReLU", "act", "same"),
        one("Rescaling", "kept", "conv0", scale=1.0),
    ]
    names = ("kept", "act")  # the last are called first
    config = functional(*entries, inputs=["x", 0, 0], outputs=[[name, 0, 0] for name in names])
    with way():
        kept, activated = built(config)(batch())
    assert (kept < 0).any()
    assert_close(activated, kept.relu())


@pytest.mark.parametrize("amounts", [0, 1, [1, 2], [[1, 0], [0, 2]]], ids=str)
@pytest.mark.parametrize(
    "reader",
    [
        {"kernel_size": 3, "padding": "same"},
        {"kernel_size": 3, "padding": "same", "strides": 2},
        {"kernel_size": 1, "padding": "valid", "strides": 2},
        {"kernel_size": [2, 1], "padding": "valid", "strides": [2, 1]},
        {"kernel_size": 2, "padding": "valid", "dilation_rate": [1, 2], "groups": 2},
        {"kernel_size": 3, "padding": "valid", "activation": "softmax"},
    ],
    ids=lambda one: ",".join(map(str, one.values())),
)
def test_whatever_reads_a_padded_image(reader, amounts, monkeypatch):
    entries = [
        input_layer("x", (None, *SHAPE[1:])),
        one("ZeroPadding2D", "pad", "x", padding=amounts),
        layer("Conv2D", "conv", [node(tensor("pad"))], filters=4, **reader),
    ]
    config = functional(*entries, inputs=["x", 0, 0], outputs=[["conv", 0, 0]])
    found = built(config)(batch())
    forbid(monkeypatch)
    assert_close(found, built(config)(batch()))
