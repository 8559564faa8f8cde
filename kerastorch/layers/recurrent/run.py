"""RecurrentRun: the base of the recurrent layers that have their weights themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..._ops.recurrent.loop import States, scan
from .layer import SWITCHES, RecurrentLayer
from .unit import RecurrentUnit


class RecurrentRun(RecurrentLayer, RecurrentUnit):
    """A unit that goes through a sequence: by torch's fused kernel where it can, or by a loop."""

    @classmethod
    def weight_groups(cls, config: Mapping[str, Any]) -> list[tuple[str, tuple[str, ...]]]:
        """Return the group of Keras 3 that holds the weights: that of the layer's cell."""
        return [("cell", cls.weight_names(config))]

    def _check_arguments(self) -> None:
        for name in SWITCHES:
            value = getattr(self, name)
            if not isinstance(value, (bool, int)):
                self._refuse_argument(name, "True or False", value)

    def _prepare_input(self, inputs: Any) -> Tensor:
        return self._cast_input(self._as_tensor(inputs))

    def _require_fit(self, x: Tensor) -> None:
        self._require_size(x, "sequences")

    def _make_zeros(self, x: Tensor) -> States:
        """Return one tensor of zeros for all states: nothing here overwrites states."""
        return [x.new_zeros(x.shape[0], self.units)] * self._state_count

    def _run(
        self, x: Tensor, states: States, mask: Tensor | None, **given: Any
    ) -> tuple[Tensor, States]:
        inputs, recurrent = self._sample_masks(x)
        wanted = self._wanted
        if recurrent is None and not isinstance(inputs, list) and self._can_fuse(x):
            x = x if inputs is None else x * inputs[:, None]
            return self._fused(x, states, mask, wanted)
        projected = self._project(x, inputs)
        return scan(self._make_step(x, recurrent), projected, states, mask, wanted)

    def _is_lowerable(self) -> bool:
        return False
