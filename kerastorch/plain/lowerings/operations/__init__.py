"""Lowerings of the operations between layers: those of `keras.ops` and TensorFlow's functions."""

from . import activations as activations
from . import elementwise as elementwise
from . import reductions as reductions
from . import shaping as shaping
