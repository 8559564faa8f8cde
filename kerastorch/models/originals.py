"""Which layers of a model are still those that it was made with."""

from __future__ import annotations

import weakref
from collections.abc import Collection, Mapping

from torch import nn


class Originals:
    """The modules that a model was made with, by their layers' names.

    They are held weakly, so that a module that was replaced can be freed.

    Args:
        modules: The modules.
        replaced: The names of those that stand in another one's place.
    """

    def __init__(self, modules: Mapping[str, nn.Module], replaced: Collection[str] = ()) -> None:
        self._modules = {
            name: weakref.ref(module) for name, module in modules.items() if name not in replaced
        }

    def replaced(self, names: Collection[str], modules: Mapping[str, nn.Module]) -> frozenset[str]:
        """Return the names for which there is another module now, or none.

        Args:
            names: All names.
            modules: The modules that there are.
        """
        return frozenset(name for name in names if not self._has(name, modules.get(name)))

    def _has(self, name: str, module: nn.Module | None) -> bool:
        return name in self._modules and self._modules[name]() is module is not None
