"""The activation functions of `keras.activations`."""

from .functions import *
from .serialization import deserialize as deserialize
from .serialization import get as get
from .serialization import serialize as serialize
