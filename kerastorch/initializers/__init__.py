"""The initializers of `keras.initializers`.

Called with a shape in Keras's axis order, each returns a contiguous tensor on the default device.
"""

from .._core.seeds import SeedGenerator as SeedGenerator
from .base import Initializer as Initializer
from .constant_initializers import *
from .random_initializers import *
from .random_initializers import compute_fans as compute_fans
from .serialization import deserialize as deserialize
from .serialization import get as get
from .serialization import serialize as serialize
