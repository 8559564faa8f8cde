"""Every whole message that a wrong argument can cause, for reading aloud."""

import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from kerastorch import DTypePolicy, apply_constraints, attach_constraints, config
from kerastorch._core.errors import problem
from kerastorch.layers import Conv2D, Dense

FIRST = {"data_format": "channels_first"}


class Named:
    """A callable with a readable repr."""

    def __init__(self, name, function):
        self.name, self.function = name, function

    def __call__(self, *args, **kwargs):
        return self.function(*args, **kwargs)

    def __repr__(self):
        return self.name


def layer(**arguments):
    """Return a built layer."""
    return Conv2D(4, (2, 3), **{"input_shape": (5, 6, 3), **arguments})


def unbuilt(**arguments):
    return Conv2D(4, (2, 3), **arguments)


def zeros(*shape, **arguments):
    return torch.zeros(*shape, **arguments)


def normed(**arguments):
    made = layer(**arguments)
    parametrizations.weight_norm(made, "weight")
    return made


def lora(made, *args):
    made.enable_lora(*args)
    return made


MESSAGES = {
    # The constructor
    "filters-zero": (
        lambda: Conv2D(0, 3),
        ValueError,
        "Conv2D: `filters` must be a positive integer. Received: filters=0.",
    ),
    "filters-fraction": (
        lambda: Conv2D(4.5, 3),
        ValueError,
        "Conv2D: `filters` must be a positive integer. Received: filters=4.5.",
    ),
    "filters-text": (
        lambda: Conv2D("4", 3),
        ValueError,
        "Conv2D: `filters` must be a positive integer. Received: filters='4'.",
    ),
    "kernel-zero": (
        lambda: Conv2D(4, (2, 0)),
        ValueError,
        (
            "Conv2D: `kernel_size` must be a positive integer or 2 of them. Received: "
            "kernel_size=(2, 0)."
        ),
    ),
    "kernel-count": (
        lambda: Conv2D(4, (2, 3, 1)),
        ValueError,
        (
            "Conv2D: `kernel_size` must be a positive integer or 2 of them. Received: "
            "kernel_size=(2, 3, 1)."
        ),
    ),
    "kernel-fraction": (
        lambda: Conv2D(4, (2, 1.5)),
        ValueError,
        (
            "Conv2D: `kernel_size` must be a positive integer or 2 of them. Received: "
            "kernel_size=(2, 1.5)."
        ),
    ),
    "kernel-text": (
        lambda: Conv2D(4, "33"),
        ValueError,
        (
            "Conv2D: `kernel_size` must be a positive integer or 2 of them. Received: "
            "kernel_size='33'."
        ),
    ),
    "kernel-none": (
        lambda: Conv2D(4, None),
        ValueError,
        (
            "Conv2D: `kernel_size` must be a positive integer or 2 of them. Received: "
            "kernel_size=None."
        ),
    ),
    "strides": (
        lambda: Conv2D(4, 3, strides=-1),
        ValueError,
        "Conv2D: `strides` must be a positive integer or 2 of them. Received: strides=-1.",
    ),
    "dilation": (
        lambda: Conv2D(4, 3, dilation_rate=(1,)),
        ValueError,
        (
            "Conv2D: `dilation_rate` must be a positive integer or 2 of them. Received: "
            "dilation_rate=(1,)."
        ),
    ),
    "strides-and-dilation": (
        lambda: Conv2D(4, 3, strides=(1, 2), dilation_rate=(2, 1)),
        ValueError,
        (
            "Conv2D: `strides` must be 1 where `dilation_rate` exceeds 1. Received: "
            "strides=(1, 2), dilation_rate=(2, 1). No layer of Keras has both above 1."
        ),
    ),
    "padding": (
        lambda: Conv2D(4, 3, padding="causal"),
        ValueError,
        ("Conv2D: `padding` must be 'valid' or 'same', in any case. Received: padding='causal'."),
    ),
    "padding-list": (
        lambda: Conv2D(4, 3, padding=["same"]),
        ValueError,
        ("Conv2D: `padding` must be 'valid' or 'same', in any case. Received: padding=['same']."),
    ),
    "data-format": (
        lambda: Conv2D(4, 3, data_format="NCHW"),
        ValueError,
        (
            "Conv2D: `data_format` must be 'channels_last' or 'channels_first', in any case. "
            "Received: data_format='NCHW'."
        ),
    ),
    "groups-zero": (
        lambda: Conv2D(4, 3, groups=0),
        ValueError,
        "Conv2D: `groups` must be a positive integer. Received: groups=0.",
    ),
    "groups-and-filters": (
        lambda: Conv2D(4, 3, groups=3),
        ValueError,
        "Conv2D: `filters` must be divisible by `groups`. Received: filters=4, groups=3.",
    ),
    "name-slash": (
        lambda: Conv2D(4, 3, name="a/b"),
        ValueError,
        "Conv2D: `name` must be a string without '/'. Received: name='a/b'.",
    ),
    "name-number": (
        lambda: Conv2D(4, 3, name=5),
        ValueError,
        "Conv2D: `name` must be a string without '/'. Received: name=5.",
    ),
    "trainable": (
        lambda: Conv2D(4, 3, trainable=1),
        ValueError,
        "Conv2D: `trainable` must be True or False. Received: trainable=1.",
    ),
    "unknown-argument": (
        lambda: Conv2D(4, 3, weights=[]),
        ValueError,
        (
            "Conv2D: `weights` must be one of its arguments. Received: weights=[]. It takes "
            "filters, kernel_size, strides, padding, data_format, dilation_rate, groups, "
            "activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer, "
            "bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint, "
            "lora_rank, lora_alpha, input_shape, device, name, dtype, trainable, autocast."
        ),
    ),
    "dtype-name": (
        lambda: Conv2D(4, 3, dtype="half"),
        ValueError,
        (
            "Conv2D: `dtype` must be one of 'float16', 'bfloat16', 'float32', 'float64', "
            "'mixed_float16', 'mixed_bfloat16'. Received: dtype='half'."
        ),
    ),
    "dtype-integer": (
        lambda: Conv2D(4, 3, dtype=torch.int32),
        ValueError,
        (
            "Conv2D: `dtype` must be one of 'float16', 'bfloat16', 'float32', 'float64', "
            "'mixed_float16', 'mixed_bfloat16'. Received: dtype=torch.int32."
        ),
    ),
    "dtype-quantized": (
        lambda: Conv2D(4, 3, dtype={"class_name": "QuantizedDTypePolicy", "config": {}}),
        ValueError,
        (
            "Conv2D: `dtype` must be one of 'float16', 'bfloat16', 'float32', 'float64', "
            "'mixed_float16', 'mixed_bfloat16'. Received: dtype={'class_name': "
            "'QuantizedDTypePolicy', 'config': {}}."
        ),
    ),
    "policy": (
        lambda: DTypePolicy("half"),
        ValueError,
        (
            "DTypePolicy: `name` must be one of 'float16', 'bfloat16', 'float32', 'float64', "
            "'mixed_float16', 'mixed_bfloat16'. Received: name='half'."
        ),
    ),
    "input-shape-rank": (
        lambda: Conv2D(4, 3, input_shape=(2, 5, 6, 3)),
        ValueError,
        (
            "Conv2D: `input_shape` must be a shape of 3 dimensions without the batch, each an "
            "integer >= 0 or None. Received: input_shape=(2, 5, 6, 3)."
        ),
    ),
    "input-shape-negative": (
        lambda: Conv2D(4, 3, input_shape=(5, -6, 3)),
        ValueError,
        (
            "Conv2D: `input_shape` must be a shape of 3 dimensions without the batch, each an "
            "integer >= 0 or None. Received: input_shape=(5, -6, 3)."
        ),
    ),
    "input-shape-text": (
        lambda: Conv2D(4, 3, input_shape="563"),
        ValueError,
        (
            "Conv2D: `input_shape` must be a shape of 3 dimensions without the batch, each an "
            "integer >= 0 or None. Received: input_shape='563'."
        ),
    ),
    "input-shape-no-channels": (
        lambda: Conv2D(4, 3, input_shape=(5, 6, None)),
        ValueError,
        (
            "Conv2D: `input_shape` must be a shape with a known number of channels, 1 at "
            "least (axis -1). Received: input_shape=(None, 5, 6, None), "
            "data_format='channels_last'."
        ),
    ),
    "input-shape-groups": (
        lambda: Conv2D(4, 3, groups=2, input_shape=(5, 6, 3)),
        ValueError,
        (
            "Conv2D: `input_shape` must be a shape whose channels (axis -1) `groups` divides. "
            "Received: input_shape=(None, 5, 6, 3), groups=2, data_format='channels_last'."
        ),
    ),
    "input-shape-small": (
        lambda: Conv2D(4, 3, input_shape=(5, 2, 3)),
        ValueError,
        (
            "Conv2D: `input_shape` must be a shape that the kernel fits into. Received: "
            "input_shape=(None, 5, 2, 3), kernel_size=(3, 3), dilation_rate=(1, 1), "
            "data_format='channels_last'. Use a larger input, or padding='same'."
        ),
    ),
    "initializer-shape": (
        lambda: layer(kernel_initializer=Named("mine", lambda shape, dtype: zeros(2, 3))),
        ValueError,
        (
            "Conv2D: `kernel_initializer` must be a callable that returns an array of the "
            "shape (2, 3, 3, 4). Received: kernel_initializer=mine, returned=(2, 3)."
        ),
    ),
    "initializer-no-array": (
        lambda: layer(bias_initializer=Named("mine", lambda shape, dtype: "ones")),
        ValueError,
        (
            "Conv2D: `bias_initializer` must be a callable that returns an array of the shape "
            "(4,). Received: bias_initializer=mine, returned='ones'."
        ),
    ),
    # What may not be changed
    "assigned": (
        lambda: setattr(layer(), "filters", 5),
        AttributeError,
        (
            "Conv2D: `filters` must be left as the layer was made. Received: filters=5. Make "
            "another layer: `from_config({**layer.get_config(), ...})`."
        ),
    ),
    # build
    "build-twice": (
        lambda: layer().build((None, 5, 6, 3)),
        ValueError,
        (
            "Conv2D: `input_shape` must be given to a layer not built yet. Received: "
            "input_shape=(None, 5, 6, 3). Make a new layer, or draw new values with "
            "`reset_parameters()`."
        ),
    ),
    "build-number": (
        lambda: unbuilt().build(3),
        ValueError,
        (
            "Conv2D: `input_shape` must be a shape of 4 dimensions with the batch, each an "
            "integer >= 0 or None. Received: input_shape=3, data_format='channels_last'."
        ),
    ),
    "build-fraction": (
        lambda: unbuilt().build((None, 5, 6, 3.0)),
        ValueError,
        (
            "Conv2D: `input_shape` must be a shape of 4 dimensions with the batch, each an "
            "integer >= 0 or None. Received: input_shape=(None, 5, 6, 3.0), "
            "data_format='channels_last'."
        ),
    ),
    "build-zero-channels": (
        lambda: unbuilt(**FIRST).build((None, 0, 5, 6)),
        ValueError,
        (
            "Conv2D: `input_shape` must be a shape with a known number of channels, 1 at "
            "least (axis 1). Received: input_shape=(None, 0, 5, 6), "
            "data_format='channels_first'."
        ),
    ),
    "build-small": (
        lambda: unbuilt(dilation_rate=(4, 1)).build((2, 4, 6, 3)),
        ValueError,
        (
            "Conv2D: `input_shape` must be a shape that the kernel fits into. Received: "
            "input_shape=(2, 4, 6, 3), kernel_size=(2, 3), dilation_rate=(4, 1), "
            "data_format='channels_last'. Use a larger input, or padding='same'."
        ),
    ),
    "output-shape-rank": (
        lambda: layer().compute_output_shape((5, 6, 3)),
        ValueError,
        (
            "Conv2D: `input_shape` must be a shape of 4 dimensions with the batch, each an "
            "integer >= 0 or None. Received: input_shape=(5, 6, 3), "
            "data_format='channels_last'."
        ),
    ),
    "output-shape-small": (
        lambda: layer().compute_output_shape((2, 1, 6, 3)),
        ValueError,
        (
            "Conv2D: `input_shape` must be a shape that the kernel fits into. Received: "
            "input_shape=(2, 1, 6, 3), kernel_size=(2, 3), dilation_rate=(1, 1), "
            "data_format='channels_last'. Use a larger input, or padding='same'."
        ),
    ),
    # Asked too early
    "kernel-unbuilt": (
        lambda: unbuilt().kernel,
        ValueError,
        (
            "Conv2D.kernel: `layer` must be built. Received: layer=Conv2D(None, 4, "
            "kernel_size=(2, 3)). Call it on a batch first, or `layer.build(input_shape)`."
        ),
    ),
    "count-params-unbuilt": (
        lambda: unbuilt().count_params(),
        ValueError,
        (
            "Conv2D.count_params: `layer` must be built. Received: layer=Conv2D(None, 4, "
            "kernel_size=(2, 3)). Call it on a batch first, or `layer.build(input_shape)`."
        ),
    ),
    # The call
    "inputs-list": (
        lambda: layer()([1.0, 2.0]),
        ValueError,
        (
            "Conv2D: `inputs` must be a tensor or an array of real numbers. Received: "
            "inputs=[1.0, 2.0]."
        ),
    ),
    "inputs-none": (
        lambda: unbuilt()(None),
        ValueError,
        ("Conv2D: `inputs` must be a tensor or an array of real numbers. Received: inputs=None."),
    ),
    "inputs-strings": (
        lambda: layer()(np.array(["a"])),
        ValueError,
        (
            "Conv2D: `inputs` must be a tensor or an array of real numbers. Received: "
            "inputs=array(['a'], dtype='<U1')."
        ),
    ),
    "inputs-rank": (
        lambda: layer()(zeros(5, 6, 3)),
        ValueError,
        (
            "Conv2D: `inputs` must be of 4 dimensions. Received: inputs=(5, 6, 3), "
            "data_format='channels_last'."
        ),
    ),
    "inputs-rank-unbuilt": (
        lambda: unbuilt()(zeros(5, 6, 3)),
        ValueError,
        (
            "Conv2D: `inputs` must be a shape of 4 dimensions with the batch, each an integer"
            " >= 0 or None. Received: inputs=(5, 6, 3), data_format='channels_last'."
        ),
    ),
    "inputs-channels": (
        lambda: layer()(zeros(2, 5, 6, 4)),
        ValueError,
        (
            "Conv2D: `inputs` must be of 3 channels along axis -1. Received: inputs=(2, 5, 6, "
            "4), data_format='channels_last'."
        ),
    ),
    "inputs-channels-first": (
        lambda: layer(input_shape=(3, 5, 6), **FIRST)(zeros(2, 5, 6, 3)),
        ValueError,
        (
            "Conv2D: `inputs` must be of 3 channels along axis 1. Received: inputs=(2, 5, 6, "
            "3), data_format='channels_first'."
        ),
    ),
    "inputs-groups-unbuilt": (
        lambda: unbuilt(groups=2)(zeros(2, 5, 6, 3)),
        ValueError,
        (
            "Conv2D: `inputs` must be a shape whose channels (axis -1) `groups` divides. "
            "Received: inputs=(2, 5, 6, 3), groups=2, data_format='channels_last'."
        ),
    ),
    "inputs-small": (
        lambda: layer()(zeros(2, 1, 6, 3)),
        ValueError,
        (
            "Conv2D: `inputs` must be a shape that the kernel fits into. Received: inputs=(2, "
            "1, 6, 3), kernel_size=(2, 3), dilation_rate=(1, 1), data_format='channels_last'. "
            "Use a larger input, or padding='same'."
        ),
    ),
    "inputs-small-unbuilt": (
        lambda: unbuilt()(zeros(2, 1, 6, 3)),
        ValueError,
        (
            "Conv2D: `inputs` must be a shape that the kernel fits into. Received: inputs=(2,"
            " 1, 6, 3), kernel_size=(2, 3), dilation_rate=(1, 1), "
            "data_format='channels_last'. Use a larger input, or padding='same'."
        ),
    ),
    "inputs-empty": (
        lambda: layer(padding="same")(zeros(2, 0, 6, 3)),
        ValueError,
        (
            "Conv2D: `inputs` must be a shape that the kernel fits into. Received: inputs=(2,"
            " 0, 6, 3), kernel_size=(2, 3), dilation_rate=(1, 1), "
            "data_format='channels_last'. Use a larger input."
        ),
    ),
    "inputs-complex": (
        lambda: layer()(zeros(2, 5, 6, 3, dtype=torch.complex64)),
        ValueError,
        "Conv2D: `inputs` must be a tensor of real numbers. Received: inputs=torch.complex64.",
    ),
    "inputs-dtype": (
        lambda: layer(autocast=False)(zeros(2, 5, 6, 3).double()),
        RuntimeError,
        (
            "Conv2D: `inputs.dtype` must be the weights' dtype, torch.float32. Received: "
            "inputs.dtype=torch.float64. Convert them with `inputs.to(...)`, or the layer "
            "with `layer.to(...)`."
        ),
    ),
    "inputs-device": (
        lambda: Dense(4, input_shape=(3,))(zeros(2, 3, device="meta")),
        RuntimeError,
        (
            "Dense: `inputs.device` must be the weights' device, cpu. Received: "
            "inputs.device=device(type='meta'). Convert them with `inputs.to(...)`, or the layer "
            "with `layer.to(...)`."
        ),
    ),
    # Weights
    "weights-unbuilt": (
        lambda: unbuilt().set_weights([np.zeros((2, 3, 3, 4)), np.zeros(4)]),
        ValueError,
        (
            "Conv2D: `weights` must be a list of arrays for []. Received: weights=[(2, 3, 3, "
            "4), (4,)]. Build the layer first: `layer.build(input_shape)`."
        ),
    ),
    "weights-number": (
        lambda: layer().set_weights([np.zeros((2, 3, 3, 4))]),
        ValueError,
        (
            "Conv2D: `weights` must be a list of arrays for [('kernel', (2, 3, 3, 4)), "
            "('bias', (4,))]. Received: weights=[(2, 3, 3, 4)]."
        ),
    ),
    "weights-shape": (
        lambda: layer().set_weights([np.zeros((4, 3, 2, 3)), np.zeros(4)]),
        ValueError,
        (
            "Conv2D: `weights` must be a list of arrays for [('kernel', (2, 3, 3, 4)), "
            "('bias', (4,))]. Received: weights=[(4, 3, 2, 3), (4,)]."
        ),
    ),
    "weights-no-array": (
        lambda: layer().set_weights([np.zeros((2, 3, 3, 4)), "zeros"]),
        ValueError,
        (
            "Conv2D: `weights` must be a list of arrays for [('kernel', (2, 3, 3, 4)), "
            "('bias', (4,))]. Received: weights=[(2, 3, 3, 4), 'str']."
        ),
    ),
    "weights-no-list": (
        lambda: layer().set_weights(5),
        ValueError,
        (
            "Conv2D: `weights` must be a list of arrays for [('kernel', (2, 3, 3, 4)), "
            "('bias', (4,))]. Received: weights=5."
        ),
    ),
    "weights-computed": (
        lambda: normed().set_weights(normed().get_weights()),
        ValueError,
        (
            "ParametrizedConv2D: `kernel` must be a parameter of its own, not one computed "
            "from others. Received: kernel=<class 'torch.Tensor'>. Remove the parametrization, "
            "the pruning or the spectral or weight norm first."
        ),
    ),
    # LoRA
    "lora-rank": (
        lambda: Conv2D(4, 3, lora_rank=-1),
        ValueError,
        "Conv2D: `lora_rank` must be a positive integer. Received: lora_rank=-1.",
    ),
    "lora-alpha": (
        lambda: Conv2D(4, 3, lora_rank=2, lora_alpha="big"),
        ValueError,
        ("Conv2D: `lora_alpha` must be a finite number >= 0. Received: lora_alpha='big'."),
    ),
    "lora-alpha-negative": (
        lambda: lora(layer(), 2, -1.0),
        ValueError,
        ("Conv2D: `lora_alpha` must be a finite number >= 0. Received: lora_alpha=-1.0."),
    ),
    "lora-constraint": (
        lambda: Conv2D(4, 3, lora_rank=2, kernel_constraint=Named("mine", abs)),
        ValueError,
        (
            "Conv2D: `kernel_constraint` must be None with LoRA. Received: "
            "kernel_constraint=mine, lora_rank=2. With LoRA nothing projects the kernel."
        ),
    ),
    "lora-unbuilt": (
        lambda: lora(unbuilt(), 2),
        ValueError,
        (
            "Conv2D.enable_lora: `layer` must be built. Received: layer=Conv2D(None, 4, "
            "kernel_size=(2, 3)). Call it on a batch first, or `layer.build(input_shape)`."
        ),
    ),
    "lora-twice": (
        lambda: lora(lora(layer(), 2), 3),
        ValueError,
        "Conv2D: `rank` must be given once: the layer has LoRA already. Received: rank=3.",
    ),
    "lora-enable-rank": (
        lambda: lora(layer(), 0),
        ValueError,
        ("Conv2D: `rank` must be a positive integer. Received: rank=0."),
    ),
    # Configs
    "config-no-dict": (
        lambda: Conv2D.from_config(5),
        TypeError,
        "Conv2D.from_config: `config` must be a dict. Received: config=5.",
    ),
    "config-unknown": (
        lambda: Conv2D.from_config({"filters": 4, "kernel_size": 3, "colour": "red"}),
        TypeError,
        (
            "Conv2D.from_config: Conv2D: `colour` must be one of its arguments. Received: "
            "colour='red'. It takes filters, kernel_size, strides, padding, data_format, "
            "dilation_rate, groups, activation, use_bias, kernel_initializer, "
            "bias_initializer, kernel_regularizer, bias_regularizer, activity_regularizer, "
            "kernel_constraint, bias_constraint, lora_rank, lora_alpha, input_shape, device, "
            "name, dtype, trainable, autocast."
        ),
    ),
    "config-refused": (
        lambda: Conv2D.from_config({"filters": 4, "kernel_size": 0}),
        TypeError,
        (
            "Conv2D.from_config: Conv2D: `kernel_size` must be a positive integer or 2 of "
            "them. Received: kernel_size=0."
        ),
    ),
    "config-target": (
        lambda: layer().get_config(target="2.15"),
        ValueError,
        (
            'get_config: `target` must be a version of Keras from "3.0" to "3.15". Received: '
            "target='2.15'."
        ),
    ),
    "config-target-number": (
        lambda: layer().get_config(target=3.15),
        ValueError,
        (
            'get_config: `target` must be a version of Keras from "3.0" to "3.15". Received: '
            "target=3.15."
        ),
    ),
    "config-target-too-old": (
        lambda: Conv2D(4, 3, lora_rank=2).get_config(target="3.2"),
        ValueError,
        (
            "get_config: `lora_rank` must be None for Keras 3.2, which does not know it. "
            "Received: lora_rank=2."
        ),
    ),
    "config-target-alpha": (
        lambda: Conv2D(4, 3, lora_rank=2, lora_alpha=3.0).get_config(target="3.9"),
        ValueError,
        (
            "get_config: `lora_alpha` must be 2 for Keras 3.9, which does not know it. "
            "Received: lora_alpha=3.0."
        ),
    ),
    # Exchange with PyTorch
    "from-torch-kind": (
        lambda: Conv2D.from_torch(nn.ReLU()),
        ValueError,
        ("Conv2D.from_torch: `module` must be an initialized nn.Conv2d. Received: module=ReLU()."),
    ),
    "from-torch-lazy": (
        lambda: Conv2D.from_torch(nn.LazyConv2d(4, 3)),
        ValueError,
        (
            "Conv2D.from_torch: `module` must be an initialized nn.Conv2d. Received: "
            "module=LazyConv2d(0, 4, kernel_size=(3, 3), stride=(1, 1))."
        ),
    ),
    "from-torch-padding": (
        lambda: Conv2D.from_torch(nn.Conv2d(3, 4, 3, padding=2)),
        ValueError,
        (
            "Conv2D.from_torch: `module.padding` must be 0 or what 'same' is at every size, "
            "since Keras has no other padding. Received: module.padding=(2, 2), "
            "kernel_size=(3, 3), stride=(1, 1), dilation=(1, 1). Pad the input yourself, and "
            "convert the module without its padding."
        ),
    ),
    "from-torch-padding-mode": (
        lambda: Conv2D.from_torch(nn.Conv2d(3, 4, 3, padding_mode="reflect")),
        ValueError,
        (
            "Conv2D.from_torch: `module.padding_mode` must be 'zeros'. Received: "
            "module.padding_mode='reflect'."
        ),
    ),
    "to-torch-unbuilt": (
        lambda: unbuilt().to_torch(),
        ValueError,
        (
            "Conv2D.to_torch: `layer` must be built. Received: layer=Conv2D(None, 4, "
            "kernel_size=(2, 3)). Call it on a batch first, or `layer.build(input_shape)`."
        ),
    ),
    "to-torch-mixed": (
        lambda: layer(dtype="mixed_float16").to_torch(),
        ValueError,
        (
            "Conv2D.to_torch: `dtype` must be one that computes in its weights' type. "
            "Received: dtype='mixed_float16'. Use torch.autocast instead."
        ),
    ),
    "to-torch-activation": (
        lambda: layer(activation=Named("mine", torch.neg)).to_torch(),
        ValueError,
        (
            "Conv2D.to_torch: `activation` must be a built-in one that PyTorch, too, has as a"
            " module. Received: activation=mine. Set `layer.activation = None` and apply it "
            "yourself."
        ),
    ),
    "to-torch-module": (
        lambda: layer(activation=nn.PReLU()).to_torch(),
        ValueError,
        (
            "Conv2D.to_torch: `activation` must be a built-in one that PyTorch, too, has as a"
            " module. Received: activation=PReLU(num_parameters=1). Set `layer.activation = "
            "None` and apply it yourself."
        ),
    ),
    "to-torch-size": (
        lambda: layer(strides=2, padding="same").to_torch(),
        ValueError,
        (
            "Conv2D.to_torch: `input_size` must be given, since this 'same' padding depends on "
            "it. Received: input_size=None, strides=(2, 2). Pass the spatial size of the "
            "inputs, such as (height, width)."
        ),
    ),
    "to-torch-size-count": (
        lambda: layer(strides=2, padding="same").to_torch((5, 6, 3)),
        ValueError,
        (
            "Conv2D.to_torch: `input_size` must be a positive integer or 2 of them. Received: "
            "input_size=(5, 6, 3)."
        ),
    ),
    # Training
    "constraint-shape": (
        lambda: apply_constraints(layer(kernel_constraint=Named("mine", torch.sum))),
        ValueError,
        (
            "Conv2D: `kernel_constraint` must be a callable that returns the shape (2, 3, 3, "
            "4) it was given. Received: kernel_constraint=mine, returned=()."
        ),
    ),
    "constraint-computed": (
        lambda: apply_constraints(normed(kernel_constraint="non_neg")),
        ValueError,
        (
            "ParametrizedConv2D: `kernel` must be a parameter of its own, not one computed "
            "from others. Received: kernel=<class 'torch.Tensor'>. Remove the parametrization, "
            "the pruning or the spectral or weight norm first."
        ),
    ),
    "attach-to-others": (
        lambda: attach_constraints(
            torch.optim.SGD(layer().parameters()), layer(kernel_constraint="non_neg")
        ),
        ValueError,
        (
            "attach_constraints: `optimizer` must be one that steps some of the model's "
            "constrained weights. Received: optimizer='SGD'. Make it from the parameters of this "
            "very model, after `fully_shard`."
        ),
    ),
    # Settings
    "floatx": (
        lambda: config.set_floatx("half"),
        ValueError,
        (
            "set_floatx: `value` must be 'bfloat16' or 'float16' or 'float32' or 'float64'. "
            "Received: value='half'."
        ),
    ),
    "epsilon-text": (
        lambda: config.set_epsilon("tiny"),
        ValueError,
        "set_epsilon: `value` must be a finite number. Received: value='tiny'.",
    ),
    "epsilon-nan": (
        lambda: config.set_epsilon(float("nan")),
        ValueError,
        "set_epsilon: `value` must be a finite number. Received: value=nan.",
    ),
    "image-data-format": (
        lambda: config.set_image_data_format("NHWC"),
        ValueError,
        (
            "set_image_data_format: `data_format` must be 'channels_last' or "
            "'channels_first', in any case. Received: data_format='NHWC'."
        ),
    ),
}


@pytest.mark.parametrize("case", MESSAGES)
def test_messages(case):
    cause, kind, message = MESSAGES[case]
    with pytest.raises(Exception) as caught:
        cause()
    assert type(caught.value) is kind
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("state", "received"),
    [
        ({"weight": zeros(4, 3, 2)}, "{'weight': (4, 3, 2)}"),
        ({"weight": zeros(4, 3, 2, 2)}, "{'weight': (4, 3, 2, 2)}"),
        (
            {"weight": zeros(4, 3, 2, 3), "bias": zeros(5)},
            "{'weight': (4, 3, 2, 3), 'bias': (5,)}",
        ),
    ],
)
def test_messages_about_a_state_dict(state, received):
    model = nn.Sequential(unbuilt())
    with pytest.raises(RuntimeError) as caught:
        model.load_state_dict({f"0.{name}": value for name, value in state.items()})
    expected = (
        "Conv2D: `state_dict` must be for Conv2D(None, 4, kernel_size=(2, 3)). "
        f"Received: state_dict={received}, prefix='0.'."
    )
    assert expected in str(caught.value).split("\n\t")


def test_a_config_that_lacks_an_argument_is_told_so_in_the_reader_s_words():
    with pytest.raises(TypeError) as caught:
        Conv2D.from_config({"filters": 4})
    message = str(caught.value)
    assert message.startswith("Conv2D.from_config: ") and "kernel_size" in message
    assert "BaseConv" not in message and "positional" not in message


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_message_about_a_device():
    with pytest.raises(RuntimeError) as caught:
        layer(device="cuda")(zeros(2, 5, 6, 3))
    assert str(caught.value) == (
        "Conv2D: `inputs.device` must be the weights' device, cuda:0. Received: "
        "inputs.device=device(type='cpu'). Convert them with `inputs.to(...)`, or the layer "
        "with `layer.to(...)`."
    )


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            {"floatx": "half"},
            (
                "`floatx` must be 'bfloat16' or 'float16' or 'float32' or 'float64'. "
                "Received: floatx='half'."
            ),
        ),
        ({"epsilon": "tiny"}, "`epsilon` must be a finite number. Received: epsilon='tiny'."),
        (
            {"image_data_format": "NHWC"},
            (
                "`image_data_format` must be 'channels_last' or 'channels_first'. "
                "Received: image_data_format='NHWC'."
            ),
        ),
    ],
)
def test_messages_about_a_keras_json(setting, message, tmp_path, monkeypatch):
    file = tmp_path / "keras.json"
    file.write_text(json.dumps(setting))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(config, "_settings", {})
    with pytest.raises(ValueError) as caught:
        config.floatx()
    assert str(caught.value) == f"{file}: {message}"


def test_the_template():
    assert problem("Owner", "size", "positive", -1) == (
        "Owner: `size` must be positive. Received: size=-1."
    )
    assert problem("Owner", "size", "below `end`", 7, "Swap them.", end=5) == (
        "Owner: `size` must be below `end`. Received: size=7, end=5. Swap them."
    )


def test_every_message_says_who_what_and_which_value():
    for name, (_, _, message) in MESSAGES.items():
        assert " must be " in message and "Received: " in message, name
        assert message.endswith(".") and "  " not in message, name
