"""The known mistakes of a layer, and how each is told to the user."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from ..layers.base.functional import SAME, Chain, Convolution, MatrixProduct, TransposedConvolution
from . import attempts
from .attempts import Attempts, Trial


class Rule(NamedTuple):
    """One known mistake; "{}" in `text` stands for what an attempt changed."""

    name: str
    text: str
    attempt: Callable[[Trial, Any], Attempts]

    def try_on(self, trial: Trial, op: Any) -> Attempts:
        """Yield the computations without the mistake, of a chain in one part or in all at once."""
        yield from self.attempt(trial, op)
        if isinstance(op, Chain):
            for n, part in enumerate(op.parts):
                for compute, changed in self.attempt(trial, part):
                    yield Chain((*op.parts[:n], compute, *op.parts[n + 1 :])), changed


RULES = (
    Rule(
        "padding counted",
        "its average includes the padding, which Keras excludes. Use count_include_pad=False.",
        attempts.exclude_padding,
    ),
    Rule(
        "padding",
        "it pads by {}, where Keras pads by TensorFlow's 'same', whose odd element comes after. "
        "Use the layer of `kerastorch.layers` with padding='same', or pad with "
        "`torch.nn.functional.pad` yourself.",
        partial(attempts.change_padding, SAME),
    ),
    Rule(
        "padding",
        "it pads by {}, where Keras pads nothing. Use padding='valid', that is 0.",
        partial(attempts.change_padding, 0),
    ),
    Rule(
        "padding",
        "it pads by {}, where Keras pads before the first step only. Use the layer of "
        "`kerastorch.layers` with padding='causal', or pad by (kernel - 1) * dilation with "
        "`torch.nn.functional.pad` yourself.",
        partial(attempts.change_padding, "causal"),
    ),
    Rule(
        "padding",
        "it crops {}. Keras crops an odd rest at the end, as no padding of PyTorch does. Use the "
        "layer of `kerastorch.layers`, or crop the end of the output yourself.",
        attempts.change_crop,
    ),
    Rule("pooling", "Keras pools by {}. Use that pooling.", attempts.exchange_pooling),
    Rule(
        "kernel height and width",
        "the kernel's height and width are swapped. Keras's kernel is (height, width, in, out), "
        "PyTorch's weight (out, in, height, width): permute_axes(3, 2, 0, 1).",
        partial(attempts.change_weight, attempts.CONVOLUTIONS, attempts.swap_sides),
    ),
    Rule(
        "kernel flipped",
        "the kernel is flipped along its spatial axes, as Theano kept it. Flip it back.",
        partial(
            attempts.change_weight, attempts.CONVOLUTIONS, lambda w: w.flip(tuple(range(2, w.ndim)))
        ),
    ),
    Rule(
        "kernel transposed",
        "the kernel's inputs and outputs are swapped. Keras's kernel has (..., in, out), PyTorch's "
        "weight (out, in, ...): load the transposed kernel.",
        partial(attempts.change_weight, (Convolution, MatrixProduct), attempts.swap_channels),
    ),
    Rule(
        "kernel transposed",
        "the kernel's filters and channels are swapped. The kernel of a transposed convolution is "
        "(..., filters, channels) in Keras, PyTorch's weight (channels, filters, ...): move the "
        "last axis to the front and then the next, as for other convolutions.",
        partial(attempts.change_weight, TransposedConvolution, attempts.swap_channels),
    ),
    Rule(
        "kernel reshaped",
        "the kernel was reshaped to PyTorch's shape, which mixes it up. Permute its axes instead: "
        "(3, 2, 0, 1) for a 2-D convolution, (1, 0) for a Dense kernel.",
        partial(attempts.change_weight, attempts.LINEAR, attempts.permute_kernel),
    ),
    Rule(
        "depthwise channels",
        "its filters are in the order of the multiplier, then of the channels. PyTorch's and "
        "Keras's have all filters of one channel side by side: move the last two axes of Keras's "
        "kernel (..., channels, multiplier) to the front as they are, and join them.",
        attempts.order_depthwise_filters,
    ),
    Rule(
        "depthwise channels",
        "its output channels are in the order of the multiplier, then of the input's channels. "
        "Keras has all outputs of one input channel side by side, as PyTorch's groups have.",
        attempts.order_depthwise_outputs,
    ),
    Rule("bias", "Keras's layer has no bias. Use bias=False.", attempts.drop_bias),
    Rule("epsilon", "its epsilon is {}. Set it to Keras's.", attempts.change_epsilon),
    Rule(
        "statistics",
        "it normalizes by batch statistics, Keras by moving ones. Use "
        "track_running_stats=True, load the moving statistics, and call `model.eval()`.",
        attempts.use_moving_statistics,
    ),
    Rule(
        "statistics",
        "the reference was normalized by batch statistics, as in training. Record it with "
        "training=False.",
        attempts.use_batch_statistics,
    ),
    Rule(
        "weights",
        "with the reference's weights it agrees, so its own weights differ: {}. Load them again.",
        attempts.use_recorded_weights,
    ),
    Rule(
        "bias",
        "Keras adds another constant to each channel; here it has {}. Load Keras's bias.",
        attempts.add_bias,
    ),
)
