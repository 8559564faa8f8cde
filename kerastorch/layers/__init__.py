"""Keras's layers."""

from ._conv import Conv2D as Conv2D
from ._conv import Conv2D as Convolution2D

__all__ = ["Conv2D", "Convolution2D"]
