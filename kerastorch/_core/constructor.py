"""Base of the classes of Keras's namespaces, and constructors named after their own class."""

from __future__ import annotations

import functools
from types import FunctionType
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from typing_extensions import Self


class OwnConstructor:
    """A mixin that copies an inherited `__init__` to each subclass.

    Python's "missing 1 required positional argument" then names the class that was called, not
    the one that defines the function. The config is the attributes named in `_config_keys`.
    """

    _config_keys: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        own_constructor(cls)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {key: getattr(self, key) for key in self._config_keys}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Create an instance from the dict that `get_config` returned."""
        return cls(**config)


def own_constructor(cls: Any) -> None:
    """Copy the inherited `__init__` to a class that does not define one."""
    inherited = cls.__init__
    if "__init__" not in vars(cls) and isinstance(inherited, FunctionType):
        # A metaclass or a wrapper would cost time at each call and hide the signature.
        parts = (inherited.__name__, inherited.__defaults__, inherited.__closure__)
        copy = FunctionType(inherited.__code__, inherited.__globals__, *parts)
        copy.__kwdefaults__ = inherited.__kwdefaults__
        functools.update_wrapper(copy, inherited)
        copy.__qualname__ = f"{cls.__qualname__}.__init__"
        cls.__init__ = copy
