"""Models of Keras: every way in which layers, models and operations are put together."""

from __future__ import annotations

import keras
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
