"""Keras's files: read, matched with modules, rebuilt as models, and written."""

from .._core.errors import FileError as FileError
from .model_loading import load_model as load_model
from .report import LoadEntry as LoadEntry
from .report import LoadReport as LoadReport
from .weight_loading import load_weights as load_weights
from .weight_saving import save_weights as save_weights
