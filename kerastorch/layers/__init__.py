"""Keras's layers: each family file exports its classes and their aliases."""

from .._core.registry import ALIASES as _ALIASES
from .._core.registry import LAYERS as _LAYERS
from .activation.activation import *
from .activation.prelu import *
from .applications.convnext import *
from .applications.inception_resnet import *
from .attention.attention import *
from .attention.grouped_query_attention import *
from .attention.multi_head_attention import *
from .convolution.conv import *
from .convolution.depthwise import *
from .convolution.local import *
from .convolution.separable import *
from .convolution.transpose import *
from .core.dense import *
from .core.einsum_dense import *
from .core.embedding import *
from .core.highway import *
from .core.identity import *
from .core.input import *
from .core.masking import *
from .core.maxout import *
from .core.reversible_embedding import *
from .merging.concatenate import *
from .merging.dot import *
from .merging.merge import *
from .normalization.batch_norm import *
from .normalization.group_norm import *
from .normalization.layer_norm import *
from .normalization.rms_norm import *
from .normalization.unit_norm import *
from .pooling.adaptive_pooling import *
from .pooling.global_pooling import *
from .pooling.pooling import *
from .preprocessing.contrast import *
from .preprocessing.normalization import *
from .preprocessing.random_color import *
from .preprocessing.random_geometry import *
from .preprocessing.random_mixing import *
from .preprocessing.random_sizes import *
from .preprocessing.resizing import *
from .recurrent.conv_lstm import *
from .recurrent.gru import *
from .recurrent.lstm import *
from .recurrent.rnn import *
from .recurrent.simple_rnn import *
from .regularization.activity_regularization import *
from .regularization.dropout import *
from .regularization.noise import *
from .reshaping.padding import *
from .reshaping.reshape import *
from .reshaping.upsampling import *
from .wrappers.bidirectional import *
from .wrappers.spectral_normalization import *
from .wrappers.time_distributed import *

__all__ = sorted([*(name for name in _LAYERS if ">" not in name), *_ALIASES])
