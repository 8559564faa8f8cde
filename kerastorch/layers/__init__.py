"""Keras's layers: each family file exports its classes and their aliases."""

from .._core.registry import ALIASES as _ALIASES
from .._core.registry import LAYERS as _LAYERS
from .activation.activation import *
from .activation.prelu import *
from .convolution.conv import *
from .convolution.transpose import *
from .core.dense import *
from .core.input import *
from .merging.merge import *
from .normalization.batch_norm import *
from .pooling.pooling import *
from .preprocessing.normalization import *
from .regularization.dropout import *
from .reshaping.padding import *
from .reshaping.reshape import *
from .reshaping.upsampling import *

__all__ = sorted([*_LAYERS, *_ALIASES])
