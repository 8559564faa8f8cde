"""Models rebuilt from their configs, beside Keras's own."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import torch
from keras import Input, Sequential, ops
from keras import Model as Functional
from keras.layers import (
    ELU,
    Activation,
    Add,
    Average,
    AveragePooling2D,
    BatchNormalization,
    Concatenate,
    Conv2D,
    Cropping2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    GlobalMaxPooling2D,
    LeakyReLU,
    Maximum,
    MaxPooling2D,
    Multiply,
    Permute,
    PReLU,
    ReLU,
    Rescaling,
    Reshape,
    Softmax,
    Subtract,
    UpSampling2D,
    ZeroPadding2D,
)

from kerastorch._core.errors import FileError
from kerastorch.layers.base.layer import Layer
from kerastorch.models.build import build_model
from kerastorch.models.functional import Model
from kerastorch.saving.configs.parse import parse_model
from kerastorch.saving.weights.unbuilt import initialize

FILES = Path(__file__).parents[1] / "files"
pytestmark = pytest.mark.filterwarnings("ignore:The structure of `inputs`:UserWarning")


# Models


def image(*, name="image", shape=(7, 6, 3), **kwargs):
    return Input(shape, name=name, **kwargs)


def sequential():
    return Sequential(
        [
            image(),
            Rescaling(0.5, 0.1),
            Conv2D(4, 3, padding="same", activation="relu", name="first"),
            BatchNormalization(),
            MaxPooling2D(2),
            ZeroPadding2D(1),
            Conv2D(5, (1, 2), strides=2, use_bias=False),
            LeakyReLU(),
            Dropout(0.5),
            Flatten(),
            Dense(3, activation="softmax"),
        ]
    )


def sequential_without_input():
    model = Sequential([Dense(3, activation="tanh"), Dense(2)])
    model.build((None, 4))
    return model


def branches():
    x = image()
    a = Conv2D(4, 3, padding="same", name="a")(x)
    b = Conv2D(4, 1, name="b")(x)
    y = Concatenate()([Add()([a, b]), Subtract()([a, b]), Multiply()([a, b]), Average()([a, b])])
    y = Maximum()([y, ReLU()(y)])
    return Functional(x, Dense(2)(GlobalAveragePooling2D()(y)))


def layers_of_every_kind():
    x = image()
    y = UpSampling2D(2, interpolation="bilinear")(x)
    y = Cropping2D(((1, 2), (0, 1)))(y)
    y = AveragePooling2D(3, 2, padding="same")(y)
    y = Permute((2, 1, 3))(y)
    y = ELU(0.5)(y)
    y = PReLU(shared_axes=[1, 2], alpha_initializer="random_normal")(y)
    y = Activation("gelu")(y)
    z = Reshape((-1, 3))(y)
    z = Softmax(axis=1)(z)
    return Functional(x, [GlobalMaxPooling2D()(y), z])


def activation_layers():
    x = image()
    y = Conv2D(4, 3, activation=PReLU("random_normal", shared_axes=[1, 2]))(x)
    y = Conv2D(4, 1, activation=LeakyReLU(0.2))(y)
    y = Dense(3, activation=ELU(0.7))(y)
    return Functional(x, Dense(3, activation=ReLU(1.5, 0.1, 0.2))(y))


def shared():
    x = image()
    conv = Conv2D(3, 3, padding="same", name="shared")
    return Functional(x, Flatten()(conv(conv(ReLU()(conv(x))))))


def siamese():
    a, b = image(name="left"), image(name="right")
    base = Sequential(
        [image(), Conv2D(3, 2), BatchNormalization(), Flatten(), Dense(4)], name="base"
    )
    return Functional([a, b], ops.sum(ops.square(base(a) - base(b)), axis=-1))


def nested_twice():
    x = image()
    inner = Functional(x, Conv2D(3, 1, activation="relu", name="conv")(x), name="inner")
    y = image(name="second")
    middle = Functional(y, [inner(inner(y)), Conv2D(2, 1, name="conv")(y)], name="middle")
    z = image(name="third")
    first, second = middle(z)
    third, fourth = middle(first)
    return Functional(z, Concatenate(name="all")([first, second, third, fourth]), name="outer")


def nested_output():
    x = image()
    inner = Functional(x, Conv2D(3, 1)(x), name="inner")
    z = image(name="outside")
    return Functional(z, [inner(z), inner(inner(z))], name="outer")


def several_inputs():
    a, b = Input((4,), name="b"), Input((3,), name="a")
    y = Concatenate()([Dense(3)(a), b])
    return Functional([a, b], [Dense(1, name="one")(y), Dense(2, name="two")(y)])


def dict_inputs():
    x = {"b": Input((4,), name="b"), "a": Input((3,), name="a")}
    y = Concatenate()([Dense(3, name="p")(x["b"]), Dense(2, name="q")(x["a"])])
    return Functional(x, {"z": Dense(1, name="z")(y), "y": Dense(2, name="y")(y)})


def dict_inside():
    x = {"b": Input((4,), name="b"), "a": Input((4,), name="a")}
    inner = Functional(
        x, {"z": Dense(4, name="z")(x["a"]), "y": Dense(4, name="y")(x["b"])}, name="inner"
    )
    p, q = Input((4,), name="p"), Input((4,), name="q")
    found = inner({"a": p, "b": q})
    return Functional([p, q], [found["z"], found["y"], inner({"a": q, "b": p})["y"]])


def nested_structures():
    a, b, c = (Input((2,), name=name) for name in "cab")
    y = Dense(3)(ops.concatenate([a, b, c]))
    return Functional([a, {"x": [b], "y": c}], {"out": [y, ReLU()(y)], "in": Dense(1)(y)})


def layer_in_two_models():
    dense = Dense(4, name="both", activity_regularizer="l2", kernel_regularizer="l1")

    def sub(name):
        x = Input((4,), name=f"{name}_in")
        return Functional(x, ReLU(name=f"{name}_relu")(dense(x)), name=name)

    x = Input((4,), name="x")
    return Functional(x, sub("one")(x) + sub("two")(x))


def regularized():
    x = image()
    conv = Conv2D(
        3,
        3,
        padding="same",
        kernel_regularizer="l2",
        bias_regularizer="l1",
        activity_regularizer=keras.regularizers.L1L2(0.1, 0.2),
        name="conv",
    )
    inner_x = image(name="inner_x")
    dense = Dense(3, activity_regularizer="l2", name="dense")
    inner = Functional(inner_x, dense(dense(inner_x)), name="inner")
    frozen = Dense(3, kernel_regularizer="l2", activity_regularizer="l1", name="frozen")
    frozen.trainable = False
    y = inner(conv(inner(conv(x))))
    act = Activation("tanh", activity_regularizer="l1")
    return Functional(x, frozen(act(act(y))))


def frozen():
    model = sequential()
    model.trainable = False
    return model


def frozen_functional():
    model = regularized()
    model.trainable = False
    model.get_layer("conv").trainable = True
    return model


def frozen_inside():
    base = nested_twice()
    base.trainable = False
    base.get_layer("middle").get_layer("conv").trainable = True
    x = image(name="top")
    return Functional(x, Dense(2)(base(x, training=False)))


def normalized_twice():
    x = image()
    bn = BatchNormalization(momentum=0.5)
    left = bn(Conv2D(3, 1, name="left")(x))
    right = bn(Conv2D(3, 1, name="right")(ReLU()(x)))
    return Functional(x, [left, bn(Add()([left, right])), right])


def operations():
    x, y = image(name="x"), image(name="y")
    z = (x + y) * 2.0 - y / 3.0
    z = ops.concatenate([z[:, 1:], ops.relu(-z)[:, :-1]], axis=-1)
    z = ops.reshape(z, (-1, 36, 6))
    z = ops.transpose(z, (0, 2, 1)) @ z
    z = ops.softmax(z, axis=-1)
    return Functional([x, y], Dense(2)(ops.mean(z, axis=1)))


def mixed():
    x = image()
    conv = Conv2D(4, 3, dtype="mixed_bfloat16")(x)
    return Functional(x, Dense(3, dtype="float32")(Flatten(dtype="mixed_bfloat16")(conv)))


def double():
    x = Input((4,), dtype="float64", name="x")
    return Functional(x, Dense(3, dtype="float64")(x))


def odd_names():
    x = image(name="input")
    y = Conv2D(3, 1, name="type")(x)
    y = Conv2D(3, 1, name="layers")(y)
    y = Conv2D(3, 1, name="parameters")(y)
    y = Conv2D(3, 1, name="conv_1")(y)
    y = Conv2D(3, 1, name="spec")(y)
    return Functional(x, Conv2D(3, 1, name="forward")(y), name="net")


def masked():
    x, mask = Input((5,), name="x"), Input((5,), dtype="bool", name="mask")
    return Functional([x, mask], Softmax()(Dense(5)(x), mask=mask))


def part_of_a_model():
    whole = branches()
    start = [whole.get_layer("a").output, whole.get_layer("b").output]
    return Functional(start, whole.output)


def shared_with_a_nested_model():
    dense = Dense(4, name="both", activity_regularizer="l2")
    x = Input((4,), name="in")
    inner = Functional(x, dense(x), name="inner")
    z = Input((4,), name="z")
    return Functional(z, dense(inner(dense(z))) + inner(z))


def model_in_two_models():
    inner = Sequential([Input((4,), name="in"), Dense(4, name="d")], name="inner")

    def sub(name):
        x = Input((4,), name=f"{name}_in")
        return Functional(x, ReLU(name=f"{name}_relu")(inner(x)), name=name)

    x = Input((4,), name="x")
    return Functional(x, [sub("one")(x), sub("two")(x), inner(x)])


def last_axis_of_one():
    x = Input((4, 1), name="x")
    return Functional(x, Dense(3)(x))


def integers():
    x = Input((5,), dtype="int32", name="x")
    return Functional(x, Dense(2)(ops.cast(x, "float32") / 2))


MODELS = [
    sequential,
    sequential_without_input,
    branches,
    layers_of_every_kind,
    activation_layers,
    shared,
    siamese,
    nested_twice,
    nested_output,
    several_inputs,
    dict_inputs,
    dict_inside,
    nested_structures,
    layer_in_two_models,
    regularized,
    frozen,
    frozen_functional,
    frozen_inside,
    normalized_twice,
    operations,
    mixed,
    double,
    odd_names,
    last_axis_of_one,
    integers,
    masked,
    part_of_a_model,
    shared_with_a_nested_model,
    model_in_two_models,
]


# What compares them


def written(model, path):
    """Return the config as the `.keras` file has it, which tells what is shared."""
    model.save(path)
    return json.loads(zipfile.ZipFile(path).read("config.json"))


def copy_weights(theirs, ours):
    for layer in theirs.layers:
        own = ours.layers[layer.name]
        if isinstance(own, Model):
            copy_weights(layer, own)
        elif isinstance(own, Layer):
            weights = layer.get_weights()
            count = len(own.variables)
            own.set_weights(weights[:count])
            if weights[count:]:
                own.activation.set_weights(weights[count:])


def randomize(model):
    generator = np.random.default_rng(0)
    for weight in model.weights:
        drawn = generator.uniform(0.1, 0.9, weight.shape)
        weight.assign(drawn if "variance" in weight.path else drawn - 0.4)


def inputs_of(model):
    generator = np.random.default_rng(1)

    def drawn(x):
        shape = [4, *(x.shape[1:])]
        return torch.tensor(generator.normal(size=shape) * 2).to(getattr(torch, x.dtype))

    inputs = model.inputs[0] if isinstance(model, Sequential) else model.input
    return keras.tree.map_structure(drawn, inputs)


def pair(make, tmp_path, *, as_file=True):
    keras.utils.clear_session()
    first = make()
    config = written(first, tmp_path / "m.keras") if as_file else json.loads(first.to_json())
    theirs = first if as_file else keras.models.model_from_json(first.to_json())
    theirs(inputs_of(theirs))  # which builds layers that are activations
    randomize(theirs)
    ours = build_model(parse_model(config, "config.json", keras.__version__))
    initialize(ours)
    copy_weights(theirs, ours)
    return theirs, ours.train()


def require_equal(found, expected, *, rounded=False):
    found, expected = ([t.detach() for t in keras.tree.flatten(one)] for one in (found, expected))
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype is other.dtype
        exact = {"rtol": 2e-6, "atol": 1e-6}
        # Keras rounds to bfloat16 before it adds the bias, this package afterwards.
        close = {"rtol": 2e-2, "atol": 2e-2} if rounded else exact
        torch.testing.assert_close(one, other, **close)


def structure(value):
    return keras.tree.map_structure(lambda t: tuple(t.shape), value)


AS_JSON = [siamese, nested_output, dict_inside, nested_structures, operations]
CASES = [*((make, True) for make in MODELS), *((make, False) for make in AS_JSON)]


@pytest.mark.parametrize("make, as_file", CASES)
def test_a_model_computes_the_same(make, as_file, tmp_path):
    theirs, ours = pair(make, tmp_path, as_file=as_file)
    given = inputs_of(theirs)
    ours.eval()
    found, expected = ours(given), theirs(given, training=False)
    if as_file or make is not nested_structures:
        assert structure(found) == structure(expected)
    require_equal(found, expected, rounded=make is mixed)
    assert sum(p.numel() for p in ours.state_dict().values()) >= theirs.count_params()
    trained = {id(p): p.numel() for p in ours.parameters() if p.requires_grad}
    assert sum(trained.values()) == sum(int(np.prod(w.shape)) for w in theirs.trainable_weights)
    if as_file and make not in (sequential, frozen):  # these draw a dropout
        require_same_training(theirs, ours, make)


@pytest.mark.parametrize("make", MODELS)
def test_shapes_are_known_before_anything_is_built(make, tmp_path):
    keras.utils.clear_session()
    model = make()
    ours = build_model(parse_model(json.loads(model.to_json()), "config.json", keras.__version__))
    assert all(isinstance(p, torch.nn.UninitializedParameter) for p in ours.parameters())
    for layer in model.layers:
        built = layer.get_build_config() if layer.weights else None
        if built is not None and built.get("input_shape") is not None:
            assert ours.input_shapes[layer.name] == tuple(built["input_shape"])
    inputs = inputs_of(model)
    shapes = keras.tree.map_structure(lambda x: tuple(x.shape), inputs)
    found = keras.tree.map_shape_structure(tuple, ours.compute_output_shape(shapes))
    assert found == keras.tree.map_structure(lambda x: tuple(x.shape), model(inputs))


def require_same_training(theirs, ours, make):
    """Compare two calls in training: outputs, loss terms, gradients and moving statistics."""
    given = inputs_of(theirs)
    ours.train()
    for _ in range(2):  # the second call starts afresh
        results = []
        for model, call in ((theirs, lambda x: theirs(x, training=True)), (ours, ours)):
            for weight in model.weights if model is theirs else model.parameters():
                tensor = weight.value if model is theirs else weight
                tensor.grad = None
            outputs = call(given)
            losses = model.losses
            total = sum(weighted(t) for t in keras.tree.flatten(outputs))
            total = total + sum(loss.float() for loss in losses)
            if total.requires_grad:
                total.backward()
            results.append((outputs, sum(losses) if losses else torch.zeros(()), len(losses)))
        (expected, terms, count), (found, own, own_count) = results
        require_equal(found, expected, rounded=make is mixed)
        if make is mixed:
            continue
        torch.testing.assert_close(own.float(), terms.float(), rtol=2e-6, atol=1e-6)
        assert own_count == count
        compare_gradients(theirs, ours)
    copied = build_model(ours.spec)
    initialize(copied)
    copy_weights(theirs, copied)  # the moving statistics, too
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, copied.state_dict()[name], rtol=2e-6, atol=1e-6)


def weighted(outputs):
    weights = torch.linspace(-1.0, 2.0, outputs.numel(), dtype=outputs.dtype)
    return (outputs.flatten() * weights).sum().float()


def compare_gradients(theirs, ours):
    for layer in theirs.layers:
        own = ours.layers[layer.name]
        if isinstance(own, Model):
            compare_gradients(layer, own)
        elif isinstance(own, Layer):
            parts = [*own.variables]
            if isinstance(getattr(own, "activation", None), Layer):
                parts += own.activation.variables
            for weight, variable in zip(layer.weights, parts, strict=True):
                expected = weight.value.grad if weight.trainable else None
                role = {r.name: r for r in (*own.roles,)}.get(variable.name)
                gradient = variable.parameter.grad
                if gradient is None or expected is None:
                    continue
                view = role.view(gradient) if role is not None else gradient
                scale = float(expected.abs().max())
                torch.testing.assert_close(view, expected, rtol=2e-5, atol=2e-5 * max(scale, 1))


# What tf.keras and earlier Keras wrote


def config_of(path):
    if path.suffix == ".json":
        return json.loads(path.read_text())
    if zipfile.is_zipfile(path):
        return json.loads(zipfile.ZipFile(path).read("config.json"))
    with h5py.File(path) as file:
        text = file.attrs.get("model_config")
    return None if text is None else json.loads(text)


def with_configs():
    for path in sorted(FILES.rglob("*")):
        plain = path.suffix in (".keras", ".h5", ".json") and path.name != "metadata.json"
        if plain and path.parent != FILES and not path.name.endswith("weights.json"):
            if config_of(path) is not None:
                yield path


@pytest.mark.parametrize("path", list(with_configs()), ids=lambda p: f"{p.parent.name}/{p.name}")
def test_a_file_is_rebuilt_or_says_why_not(path):
    if path.stem == "subclass":
        with pytest.raises(FileError, match="rebuild the class in PyTorch"):
            parse_model(config_of(path), path.name)
        return
    spec = parse_model(config_of(path), path.name)
    if path.stem == "wrappers":
        with pytest.raises(FileError) as caught:
            build_model(spec)
        classes = [
            line.split("(")[1].split(")")[0] for line in str(caught.value).splitlines()[1:-1]
        ]
        assert sorted(classes) == ["Bidirectional", "RNN", "TimeDistributed", "TimeDistributed"]
        return
    model = build_model(spec)
    initialize(model)
    shape = model.input_shapes[next(iter(model.layers))]
    x = torch.zeros([2, *shape[1:]])
    assert model.eval()(x) is not None


@pytest.mark.parametrize("writer", ["keras-2.13.1", "keras-2.15.1", "tf_keras-2.21"])
def test_the_graph_of_keras_2_is_that_of_keras_3(writer):
    specs = [
        parse_model(config_of(FILES / folder / "fun_nested.json"), "config.json")
        for folder in (writer, "keras-3.15.1")
    ]
    models = [build_model(spec).eval() for spec in specs]
    for model in models:
        initialize(model)
    assert sorted(models[0].state_dict()) == sorted(models[1].state_dict())
    models[0].load_state_dict(models[1].state_dict())
    x = torch.randn(2, 8, 8, 3)
    require_equal(models[0](x), models[1](x))
