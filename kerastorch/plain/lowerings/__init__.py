"""What each layer is in plain PyTorch: a file a family of layers."""

from . import activation as activation
from . import convolution as convolution
from . import core as core
from . import merging as merging
from . import normalization as normalization
from . import pooling as pooling
from . import preprocessing as preprocessing
from . import regularization as regularization
from . import reshaping as reshaping
from . import resizing as resizing
from . import wrappers as wrappers
