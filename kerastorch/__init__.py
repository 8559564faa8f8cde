"""Keras layers as real PyTorch modules."""

from typing import TYPE_CHECKING

from . import activations as activations
from . import config as config
from . import constraints as constraints
from . import initializers as initializers
from . import layers as layers
from . import regularizers as regularizers
from .dtype_policies import DTypePolicy as DTypePolicy
from .layers import Conv2D as Conv2D
from .training import apply_constraints as apply_constraints
from .training import attach_constraints as attach_constraints
from .training import regularization_loss as regularization_loss

if TYPE_CHECKING:
    from . import saving as saving
    from ._comparison import compare as compare
    from .plain import to_source as to_source
    from .plain import to_torch as to_torch
    from .saving import load_model as load_model
    from .saving import load_weights as load_weights
    from .saving import save_weights as save_weights


def __getattr__(name: str) -> object:
    """Import on first use what is slow to import: files, comparison, and code."""
    if name in ("load_model", "load_weights", "save_weights", "saving"):
        import kerastorch.saving as found

        return found if name == "saving" else getattr(found, name)
    if name == "compare":
        from ._comparison import compare as compare

        return compare
    if name in ("to_source", "to_torch"):
        from . import plain

        return getattr(plain, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names, including those imported on first use."""
    slow = {"compare", "load_model", "load_weights", "save_weights", "saving"}
    return sorted({*globals(), *slow, "to_source", "to_torch"})
