"""`kerastorch.compare`: a model's values next to those of a Keras model, layer by layer."""

from .side_by_side import compare as compare
