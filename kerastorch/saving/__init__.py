"""Read Keras files, match them with modules, rebuild them as models, and write them."""

from typing import TYPE_CHECKING

from .._core.errors import FileError as FileError
from .report import LoadEntry as LoadEntry
from .report import LoadReport as LoadReport

if TYPE_CHECKING:
    from .model_loading import load_model as load_model
    from .weight_loading import load_weights as load_weights
    from .weight_saving import save_weights as save_weights


def __getattr__(name: str) -> object:
    """Import the functions when they are first used: their imports need this package."""
    if name == "load_model":
        from .model_loading import load_model as load_model

        return load_model
    if name == "load_weights":
        from .weight_loading import load_weights as load_weights

        return load_weights
    if name == "save_weights":
        from .weight_saving import save_weights as save_weights

        return save_weights
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the names, those imported later included."""
    return sorted({*globals(), "load_model", "load_weights", "save_weights"})
