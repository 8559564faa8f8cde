"""The convolution layers: a class for each rank."""

from __future__ import annotations

from ..._core.registry import keras_layer
from .base import Conv

__all__ = ["Conv2D", "Convolution2D"]


@keras_layer(aliases=["Convolution2D"])
class Conv2D(Conv):
    """A 2-D convolution layer: a kernel slides over height and width.

    Same as `keras.layers.Conv2D`, except that

    - it is a `torch.nn.Module`: `weight` and `bias` are parameters in PyTorch's order;
    - integer and boolean inputs are converted to the layer's compute dtype;
    - an initializer without a seed draws from `torch.manual_seed`'s generator.

    Args:
        filters: The number of output channels.
        kernel_size: Height and width of the kernel: an integer for both, or two.
        strides: The step of the window along each axis; not above 1 with a dilation.
        padding: "valid" for none, or "same" for as much as gives `ceil(size / stride)` places,
            evenly on both sides and an odd rest at the end, as TensorFlow pads; in any case.
        data_format: "channels_last" or "channels_first"; by default
            `kerastorch.config.image_data_format()`.
        dilation_rate: The distance of the kernel's elements along each axis.
        groups: The number of groups that channels and filters are split into.
        activation: What is applied to the output: a name from `kerastorch.activations`, or any
            callable; it gets the output in the layer's data format.
        use_bias: Whether a bias is added to the output.
        kernel_initializer: How the kernel starts; None means "glorot_uniform".
        bias_initializer: How the bias starts; None means "glorot_uniform", as in Keras.
        kernel_regularizer: What adds a loss term for the kernel.
        bias_regularizer: What adds a loss term for the bias.
        activity_regularizer: What adds a loss term for the output, divided by the batch size.
        kernel_constraint: What projects the kernel after a step of the optimizer; see
            `kerastorch.attach_constraints`.
        bias_constraint: What projects the bias then.
        lora_rank: The rank of a difference to train in the place of the kernel.
        lora_alpha: The scale of that difference, times the rank.
        input_shape: The shape of one input, without the batch; the layer is then built at once.
        device: Where the weights live.
        **kwargs: `name`, `dtype` (a policy: "float32", "float16", "bfloat16", "float64",
            "mixed_float16", "mixed_bfloat16"), `trainable` and `autocast`.

    Shape:
        - Input: (batch, height, width, channels), or with "channels_first"
          (batch, channels, height, width).
        - Output: (batch, new_height, new_width, filters), or (batch, filters, new_height,
          new_width), where a new size is `ceil(size / stride)` with "same" and
          `floor((size - (kernel - 1) * dilation - 1) / stride) + 1` with "valid".

    Attributes:
        weight: (filters, channels / groups, kernel height, kernel width), in channels_last
            memory order.
        bias: (filters,), or None.
        kernel: The view (kernel height, kernel width, channels / groups, filters) of `weight`.

    Raises:
        ValueError: an argument is refused.

    Example:
        >>> import numpy as np
        >>> x = np.random.rand(4, 10, 10, 128)
        >>> y = Conv2D(32, 3, activation="relu")(x)
        >>> tuple(y.shape)
        (4, 8, 8, 32)
    """

    rank = 2


Convolution2D = Conv2D
