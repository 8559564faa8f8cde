"""The way out: a loaded model as plain PyTorch code."""

from .api import Source as Source
from .api import to_source as to_source
from .api import to_torch as to_torch
