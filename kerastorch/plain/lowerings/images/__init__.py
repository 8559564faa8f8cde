"""Lowerings of layers over images, sequences and volumes without a kernel of torch's form."""

from . import local as local
from . import pooling as pooling
from . import preprocessing as preprocessing
from . import resizing as resizing
