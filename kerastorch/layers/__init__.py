"""Keras's layers."""

from ._activation import ELU as ELU
from ._activation import Activation as Activation
from ._activation import LeakyReLU as LeakyReLU
from ._activation import ReLU as ReLU
from ._activation import Softmax as Softmax
from ._conv import Conv2D as Conv2D
from ._conv import Conv2D as Convolution2D
from ._dense import Dense as Dense
from ._dropout import Dropout as Dropout
from ._dropout import SpatialDropout2D as SpatialDropout2D
from ._input import InputLayer as InputLayer
from ._merging import Add as Add
from ._merging import Average as Average
from ._merging import Concatenate as Concatenate
from ._merging import Maximum as Maximum
from ._merging import Minimum as Minimum
from ._merging import Multiply as Multiply
from ._merging import Subtract as Subtract
from ._normalization import BatchNormalization as BatchNormalization
from ._padding import Cropping2D as Cropping2D
from ._padding import ZeroPadding2D as ZeroPadding2D
from ._pooling import AveragePooling2D as AveragePooling2D
from ._pooling import GlobalAveragePooling2D as GlobalAveragePooling2D
from ._pooling import GlobalMaxPooling2D as GlobalMaxPooling2D
from ._pooling import MaxPooling2D as MaxPooling2D
from ._prelu import PReLU as PReLU
from ._reshaping import Flatten as Flatten
from ._reshaping import Permute as Permute
from ._reshaping import Reshape as Reshape
from ._scaling import Normalization as Normalization
from ._scaling import Rescaling as Rescaling
from ._upsampling import UpSampling2D as UpSampling2D

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
