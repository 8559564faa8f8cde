"""A layer's config, read off the signature of its constructor: an argument is an attribute."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from ... import constraints, initializers, regularizers
from ..._core.config_arrays import decode_array
from ..._core.config_versions import downgrade_config
from ..._core.errors import argument_error

Config = dict[str, Any]
L = TypeVar("L")

COMMON = ("name", "trainable", "dtype")
OMITTED_ARGUMENTS = ("autocast", "input_shape", "device", *COMMON)


def collect_namespaces(cls: Any) -> Config:
    """Return the namespaces of a class's arguments, those of its weights too, by argument."""
    found: dict[Any, Any] = {}
    for base in reversed(cls.__mro__):
        found.update(vars(base).get("argument_namespaces", {}))
    for spec in cls.weight_specs:
        found[spec.initializer] = initializers
        found.update({spec.regularizer: regularizers, spec.constraint: constraints})
    found.pop(None, None)
    return found


def list_arguments(cls: Any) -> tuple[str, ...]:
    """Return the names of all arguments of the constructor, those of subclasses first."""
    names: dict[str, None] = {}
    for base in cls.__mro__:
        if hasattr(base, "argument_namespaces") and "__init__" in vars(base):
            for parameter in list(inspect.signature(base.__init__).parameters.values())[1:]:
                if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                    names[parameter.name] = None
    return tuple(name for name in names if name not in cls.removed_arguments)


def get_config(layer: Any, target: str | None = None) -> Config:
    """Return the constructor's arguments as `keras.layers` configs have them.

    Args:
        layer: The layer; as a method, itself.
        target: The version of Keras that will read it, "3.0" to "3.15"; None for the newest.

    Raises:
        ValueError: The version is unknown or lacks what the layer uses, or an argument is
            a callable that no config can name.
    """
    policy: Config = {"module": "keras", "class_name": "DTypePolicy"}
    policy |= {"config": layer.dtype_policy.get_config(), "registered_name": None}
    config: Config = {"name": layer.name, "trainable": layer.trainable, "dtype": policy}
    if layer.activity_regularizer is not None:
        config["activity_regularizer"] = None  # Keras writes it here: this fixes the order
    for argument in (*layer._config_keys_first, *layer.arguments()):
        if argument in OMITTED_ARGUMENTS or argument in layer._never_in_config:
            continue
        if not hasattr(layer, argument):
            remedy = "Keep it under its own name, or override `get_config`."
            rule = "an attribute, too, since the config is read off the attributes"
            layer._refuse_argument(argument, rule, None, remedy)
        value = getattr(layer, argument)
        if argument in layer._omit_config_if_unset and not value:
            continue
        namespace = layer.argument_namespaces.get(argument)
        config[argument] = value if namespace is None else namespace.serialize(value)
    old = [name for name in ("keras_2", *layer.old_settings) if getattr(layer, name)]
    if old and target is not None:
        rule = "None for a layer of Keras 1 or 2, which Keras 3 computes otherwise"
        layer._refuse_argument("target", rule, target)
    config |= {name: getattr(layer, name) for name in old}
    ordered = {key: config[key] for key in sorted(config, key=layer._config_keys_last.__contains__)}
    return ordered if target is None else downgrade_config(ordered, target)


def make_layer(
    cls: type[L], config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None
) -> L:
    """Make a layer of a class from a config of any Keras."""
    layer_class: Any = cls
    if not isinstance(config, Mapping):
        raise TypeError(argument_error(f"{cls.__name__}.from_config", "config", "a dict", config))
    try:
        arguments = layer_class.upgrade_config(config)
        for argument in ("batch_input_shape", "input_dim", "input_length"):
            if argument not in layer_class.arguments():
                arguments.pop(argument, None)  # of Keras 1 and 2: a model reads them
        for argument, value in arguments.items():
            namespace = layer_class.argument_namespaces.get(argument)
            if namespace is None:
                arguments[argument] = decode_array(cls.__name__, argument, value)
            elif isinstance(value, (str, dict)) or argument in layer_class.nested_arguments:
                arguments[argument] = namespace.deserialize(value, custom_objects)
        names = ("keras_2",) if layer_class.differs_in_keras_2 else ()
        names += layer_class.old_settings
        old = {name: arguments.pop(name, None) or False for name in names}
        inspect.signature(cls).bind(**arguments)  # its message on what is missing is clearer
        for name, value in old.items():
            if not isinstance(value, bool if name == "keras_2" else int):
                raise ValueError(argument_error(cls.__name__, name, "True or False", value))
        layer = cls.__new__(cls)
        vars(layer).update(old)  # before the constructor, which may accept more then
        cast(Any, layer).__init__(**arguments)
        return layer
    except (TypeError, ValueError) as error:  # Keras raises TypeError for both
        raise TypeError(f"{cls.__name__}.from_config: {error}") from error
