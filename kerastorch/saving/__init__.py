"""Keras's files: read, matched with modules, rebuilt as models, and written."""

from ._contents import FileError as FileError
from ._load import load_weights as load_weights
from ._load_model import load_model as load_model
from ._report import LoadEntry as LoadEntry
from ._report import LoadReport as LoadReport
from ._write import save_weights as save_weights
