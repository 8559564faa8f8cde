"""Keras's layers."""

from .activation.activation import ELU as ELU
from .activation.activation import Activation as Activation
from .activation.activation import LeakyReLU as LeakyReLU
from .activation.activation import ReLU as ReLU
from .activation.activation import Softmax as Softmax
from .activation.prelu import PReLU as PReLU
from .convolution.conv import Conv2D as Conv2D
from .convolution.conv import Conv2D as Convolution2D
from .core.dense import Dense as Dense
from .core.input import InputLayer as InputLayer
from .merging.merge import Add as Add
from .merging.merge import Average as Average
from .merging.merge import Concatenate as Concatenate
from .merging.merge import Maximum as Maximum
from .merging.merge import Minimum as Minimum
from .merging.merge import Multiply as Multiply
from .merging.merge import Subtract as Subtract
from .normalization.batch_norm import BatchNormalization as BatchNormalization
from .pooling.global_pooling import GlobalAveragePooling2D as GlobalAveragePooling2D
from .pooling.global_pooling import GlobalMaxPooling2D as GlobalMaxPooling2D
from .pooling.pooling import AveragePooling2D as AveragePooling2D
from .pooling.pooling import MaxPooling2D as MaxPooling2D
from .preprocessing.normalization import Normalization as Normalization
from .preprocessing.rescaling import Rescaling as Rescaling
from .regularization.dropout import Dropout as Dropout
from .regularization.dropout import SpatialDropout2D as SpatialDropout2D
from .reshaping.cropping import Cropping2D as Cropping2D
from .reshaping.padding import ZeroPadding2D as ZeroPadding2D
from .reshaping.reshape import Flatten as Flatten
from .reshaping.reshape import Permute as Permute
from .reshaping.reshape import Reshape as Reshape
from .reshaping.upsampling import UpSampling2D as UpSampling2D

__all__ = [
    "ELU",
    "Activation",
    "Add",
    "Average",
    "AveragePooling2D",
    "BatchNormalization",
    "Concatenate",
    "Conv2D",
    "Convolution2D",
    "Cropping2D",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling2D",
    "InputLayer",
    "LeakyReLU",
    "MaxPooling2D",
    "Maximum",
    "Minimum",
    "Multiply",
    "Normalization",
    "PReLU",
    "Permute",
    "ReLU",
    "Rescaling",
    "Reshape",
    "Softmax",
    "SpatialDropout2D",
    "Subtract",
    "UpSampling2D",
    "ZeroPadding2D",
]
