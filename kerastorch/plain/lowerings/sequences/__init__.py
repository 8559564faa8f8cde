"""Lowerings of embeddings, recurrent layers, attention and wrappers."""

from . import attention as attention
from . import conv_lstm as conv_lstm
from . import embedding as embedding
from . import recurrent as recurrent
from . import wrappers as wrappers
