"""Configured: a layer's config, read off the signature of its constructor."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from ... import activations, constraints, initializers, regularizers
from ..._core.config_arrays import restored
from ..._core.config_downgrade import as_read_by
from ..._core.config_upgrade import upgrade_config
from ..._core.constructor import OwnConstructor
from ..._core.errors import problem

Config = dict[str, Any]
C = TypeVar("C", bound="Configured")

_VOCABULARIES: dict[str, Any] = {  # by the last word of an argument's name
    "activation": activations,
    "initializer": initializers,
    "regularizer": regularizers,
    "constraint": constraints,
}
_COMMON = ("name", "trainable", "dtype")
NOT_IN_CONFIG = ("autocast", "input_shape", "device", *_COMMON)
_ONLY_WHEN_SET = ("lora_rank", "lora_alpha")
_ABOUT_INPUTS = ("batch_input_shape", "input_dim")  # of Keras 1 and 2: a model reads it


class Configured(OwnConstructor):
    """A mixin for classes whose arguments are their attributes, under the same names.

    What is assigned to an activation, initializer, regularizer or constraint is resolved there
    and then, so that a name will do at any time. A subclass names in `_written_when_set` the
    arguments that Keras leaves out of configs unless they are set, and in `_written_last` those
    that it writes after all others.
    """

    _written_when_set: ClassVar[tuple[str, ...]] = ()
    _written_last: ClassVar[tuple[str, ...]] = ()
    renamed_arguments: ClassVar[Mapping[str, str]] = {}  # names of Keras 1 and 2 -> of Keras 3

    def __setattr__(self, name: str, value: Any) -> None:
        vocabulary = _vocabulary(name)
        if vocabulary is not None:
            value = vocabulary.get(value)
            vars(self).get("_modules", {}).pop(name, None)  # nn.Module lets no module be replaced
        super().__setattr__(name, value)

    @classmethod
    def arguments(cls) -> tuple[str, ...]:
        """Return the names of all arguments of the constructor, the most special class's first."""
        names: dict[str, None] = {}
        for base in cls.__mro__:
            if issubclass(base, Configured) and "__init__" in vars(base):
                for parameter in list(inspect.signature(base.__init__).parameters.values())[1:]:
                    if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                        names[parameter.name] = None
        return tuple(names)

    def get_config(self: Any, target: str | None = None) -> Config:
        """Return the constructor's arguments as `keras.layers` configs have them.

        Args:
            target: A version of Keras, "3.0" to "3.15", whose reader the config is for; None for
                the newest.

        Raises:
            ValueError: the version is not known or lacks what the layer uses, or an argument is
                a callable that no config can name.
        """
        config: Config = {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": {
                "module": "keras",
                "class_name": "DTypePolicy",
                "config": self.dtype_policy.get_config(),
                "registered_name": None,
            },
        }
        if self.activity_regularizer is not None:
            config["activity_regularizer"] = None  # Keras then has it here: it fixes the order
        for argument in sorted(self.arguments(), key=self._written_last.__contains__):
            if argument in NOT_IN_CONFIG:
                continue
            if not hasattr(self, argument):
                remedy = "Keep it under its own name, or override `get_config`."
                rule = "an attribute, too, since the config is read off the attributes"
                raise ValueError(problem(type(self).__name__, argument, rule, None, remedy))
            value = getattr(self, argument)
            if argument in (*_ONLY_WHEN_SET, *self._written_when_set) and not value:
                continue
            vocabulary = _vocabulary(argument)
            config[argument] = value if vocabulary is None else vocabulary.serialize(value)
        return config if target is None else as_read_by(config, target)

    def _differing(self: Any, **defaults: Any) -> list[str]:
        """Return what a repr shows of arguments with these defaults, and of the dtype."""
        shown = [f"{n}={getattr(self, n)!r}" for n, v in defaults.items() if getattr(self, n) != v]
        if self.dtype_policy.name != "float32":
            shown.append(f"dtype={self.dtype_policy.name!r}")
        return shown

    @classmethod
    def upgrade_config(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return a config of any Keras as Keras 3 writes it.

        Raises:
            ValueError: Keras 1 computed something else.
        """
        return upgrade_config(cls.__name__, config, cls.renamed_arguments)

    @classmethod
    def from_config(
        cls: type[C], config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> C:
        """Make a layer from a config of Keras 2, tf.keras or any Keras 3.

        Args:
            config: The dict that `get_config` returned there; it is left as it is.
            custom_objects: Your own names -> functions or classes.

        Raises:
            TypeError: the config is no mapping or lacks an argument, or an argument is refused.
        """
        if not isinstance(config, Mapping):
            raise TypeError(problem(f"{cls.__name__}.from_config", "config", "a dict", config))
        try:
            arguments = cls.upgrade_config(config)
            for argument in _ABOUT_INPUTS:
                arguments.pop(argument, None)
            for argument, value in arguments.items():
                vocabulary = _vocabulary(argument)
                if vocabulary is not None and isinstance(value, (str, dict)):
                    arguments[argument] = vocabulary.deserialize(value, custom_objects)
                else:
                    arguments[argument] = restored(cls.__name__, argument, value)
            inspect.signature(cls).bind(**arguments)  # its message on what is missing is clearer
            return cls(**arguments)
        except (TypeError, ValueError) as error:  # Keras raises TypeError for both
            raise TypeError(f"{cls.__name__}.from_config: {error}") from error


def _vocabulary(argument: str) -> Any:
    return _VOCABULARIES.get(argument.rpartition("_")[2])
