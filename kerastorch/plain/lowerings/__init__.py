"""What each layer is in plain PyTorch: a file a family of layers."""

from . import activation as activation
from . import convolution as convolution
from . import core as core
from . import images as images
from . import masked as masked
from . import merging as merging
from . import normalization as normalization
from . import operations as operations
from . import regularization as regularization
from . import reshaping as reshaping
from . import sequences as sequences
