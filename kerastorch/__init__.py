"""Keras layers as real PyTorch modules."""

from typing import TYPE_CHECKING, Any

from . import activations as activations
from . import config as config
from . import constraints as constraints
from . import initializers as initializers
from . import layers as layers
from . import regularizers as regularizers
from ._dtype import DTypePolicy as DTypePolicy
from .layers import Conv2D as Conv2D
from .training import apply_constraints as apply_constraints
from .training import attach_constraints as attach_constraints
from .training import regularization_loss as regularization_loss

if TYPE_CHECKING:
    from . import saving as saving
    from ._comparing import compare as compare
    from .saving import load_model as load_model
    from .saving import load_weights as load_weights
    from .saving import save_weights as save_weights

# Imported when they are first asked for, since they take longer than all the rest.
_LATER = {
    "compare": "_comparing",
    "load_model": "saving",
    "load_weights": "saving",
    "save_weights": "saving",
}


def __getattr__(name: str) -> Any:
    import importlib

    if name == "saving":
        return importlib.import_module(f"{__name__}.saving")
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER, "saving"})
