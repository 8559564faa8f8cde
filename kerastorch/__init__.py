"""Keras layers as real PyTorch modules."""

from . import activations as activations
from . import config as config
from . import constraints as constraints
from . import initializers as initializers
from . import layers as layers
from . import regularizers as regularizers
from . import saving as saving
from ._comparing import compare as compare
from ._dtype import DTypePolicy as DTypePolicy
from .layers import Conv2D as Conv2D
from .saving import load_model as load_model
from .saving import load_weights as load_weights
from .saving import save_weights as save_weights
from .training import apply_constraints as apply_constraints
from .training import attach_constraints as attach_constraints
from .training import regularization_loss as regularization_loss
