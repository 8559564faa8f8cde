"""Closed tables of layers, activations and so on by name; nothing is ever imported by name."""

from __future__ import annotations

import difflib
import inspect
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any, Generic, TypeVar, cast

from .config_arrays import Config, encode_array
from .errors import argument_error

# Packages whose objects a registry may replace; Keras writes "builtins" for functions.
_KERAS = ("builtins", "keras", "tensorflow", "tf_keras")

_NO_LAMBDA = "Save the model again with a function that has a name, or make the layer yourself."
APPLICATIONS = "keras.applications"
LAYERS: dict[str, Any] = {}  # class name -> layer of `keras.layers`; "package>Name" of others
REMOVED: set[str] = set()  # those of Keras 1 and 2 that Keras 3 lacks
ALIASES: dict[str, str] = {}  # alias -> class name: "MaxPool2D" -> "MaxPooling2D"
OLD_NAMES: dict[str, str] = {}  # names in configs of Keras 1 and 2 alone -> class name
OLD_VALUES: dict[str, Config] = {}  # such a name -> the arguments that its configs lack
_counters: defaultdict[str, Iterator[int]] = defaultdict(itertools.count)
_Class = TypeVar("_Class", bound=type)
Entry = TypeVar("Entry")


def keras_layer(
    *,
    aliases: Iterable[str] = (),
    old_names: Iterable[str] | Mapping[str, Config] = (),
    removed: bool = False,
    package: str = "",
) -> Callable[[_Class], _Class]:
    """Register a class as the layer of `keras.layers` of the same name, and under its aliases.

    Only files of Keras 1 and 2 have the `old_names`, which may map to the values of arguments that
    the old class had not; `removed` is whether Keras 3 lacks the layer.

    A class that is no name of `keras.layers` is registered with its `package`, as "package>Name":
    other packages, too, may have a class of that name.
    """

    def register(cls: Any) -> Any:
        cls.registered_name = f"{package}>{cls.__name__}" if package else cls.__name__
        LAYERS[cls.registered_name] = cls
        ALIASES.update(dict.fromkeys(aliases, cls.__name__))
        OLD_NAMES.update(dict.fromkeys(old_names, cls.__name__))
        OLD_VALUES.update(old_names if isinstance(old_names, Mapping) else {})
        REMOVED.update({cls.__name__} if removed else ())
        return cls

    return register


def resolve_name(name: str, config: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return the class name for any name of a layer, and its config with what an old one lacks."""
    missing = OLD_VALUES.get(name)
    name = {**OLD_NAMES, **ALIASES}.get(name, name)
    return name, config if missing is None else {**missing, **config}


def is_registered(cls: Any) -> bool:
    """Return whether a class is registered itself, and no subclass of one that is."""
    return LAYERS.get(getattr(cls, "registered_name", "")) is cls


def to_snake_case(class_name: str) -> str:
    """Return Keras's snake_case of a class name: "conv2d" for Conv2D, "re_lu" for ReLU."""
    name = re.sub(r"\W+", "", class_name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def number_group(kind: str, counts: Counter[str]) -> str:
    """Return the next group of a class in Keras 3: "dense", "dense_1", ..."""
    counts[kind] += 1
    return kind if counts[kind] == 1 else f"{kind}_{counts[kind] - 1}"


def make_automatic_name(class_name: str) -> str:
    """Return Keras's next automatic name of a class: "conv2d", "conv2d_1", ..."""
    base = to_snake_case(class_name)
    count = next(_counters[base])
    return f"{base}_{count}" if count else base


def is_automatic_name(name: str, kind: str) -> bool:
    """Return whether a name is an automatic one: "conv2d_1" for kind "conv2d"."""
    return re.fullmatch(rf"{re.escape(kind)}(_[0-9]+)?", name) is not None


def make_class_table(classes: Iterable[type], **aliases: type) -> dict[str, type]:
    """Return a table of `classes` by class name, by its snake_case, and by the aliases."""
    table = dict(aliases)
    for cls in classes:
        table[cls.__name__] = table[to_snake_case(cls.__name__)] = cls
    return table


@dataclass(eq=False, repr=False)
class Registry(Generic[Entry]):
    """A closed table of the objects of one Keras module."""

    kind: str  # the singular name of an entry, for error messages
    module: str  # the Keras module that configs name
    table: Mapping[str, Any]  # name -> a function, or a class to create an instance of
    equivalents: Mapping[Callable[..., Any], str] = field(default_factory=dict)  # of other packages
    layers: Mapping[str, Any] = field(default_factory=dict)  # accepted too; fills on import

    def get(self, identifier: Any) -> Entry | None:
        """Return the callable for a name, config dict, class, instance or function, or None."""
        if identifier is None:
            return None
        if isinstance(identifier, (str, dict)):
            return self.deserialize(identifier)
        if inspect.isclass(identifier):
            identifier = identifier()
        if callable(identifier):
            return cast(Entry, identifier)
        rule = "a name, a config dict or a callable"
        raise ValueError(argument_error(self.kind, "identifier", rule, identifier))

    def serialize(self, obj: Any) -> Config | str | None:
        """Return the config that Keras writes for `obj`: a dict, a bare name, or None."""
        if obj is None:
            return None
        for function, name in self.equivalents.items():  # `obj` may be unhashable
            if obj is function:
                return name
        if isinstance(obj, FunctionType):
            return self._function_config(obj)
        if inspect.isclass(obj) or not hasattr(obj, "get_config"):
            rule = "a function or an instance that has `get_config`"
            raise ValueError(argument_error(self.kind, "object", rule, obj))
        cls = type(obj)
        is_layer = self.layers.get(cls.__name__) is cls
        built_in = is_layer or cls in self.table.values()
        module = None if cls.__module__ == "__main__" else cls.__module__
        return {
            "module": "keras.layers" if is_layer else self.module if built_in else module,
            "class_name": cls.__name__,
            "config": encode_array(obj.get_config()),
            "registered_name": None if built_in else cls.__name__,
        }

    def deserialize(
        self, config: Config | str | None, custom_objects: Mapping[str, Any] | None = None
    ) -> Entry | None:
        """Return the object that a config of any Keras describes; `custom_objects` come first."""
        if config is None:
            return None
        name, arguments, names = self._parse(config)
        own = custom_objects or {}
        found = next((own[n] for n in names if n in own), None)
        if found is None:
            if isinstance(config, dict) and _is_foreign(config):
                rule = "about an object of Keras, or of `custom_objects`"
                raise TypeError(argument_error(self.kind, "config", rule, config))
            found = self.table.get(name)
        if found is None and isinstance(config, dict) and name in self.layers:
            found = self.layers[name].from_config(arguments, custom_objects)
        elif found is None:
            raise ValueError(self._unknown(name))
        elif inspect.isclass(found):
            found = _create_instance(found, arguments)
        return cast(Entry, found)

    def _function_config(self, function: FunctionType) -> Config | str:
        name = function.__name__
        if self.table.get(name) is function:
            return name
        if name == "<lambda>":
            remedy = "Name it with `def` and load it back with `custom_objects`."
            raise ValueError(argument_error(self.kind, "function", "named", function, remedy))
        if name in self.table:
            rule = f"named otherwise, since {name!r} means another {self.kind}"
            raise ValueError(argument_error(self.kind, "function", rule, function, "Rename it."))
        kind = "function"
        return {"module": "builtins", "class_name": kind, "config": name, "registered_name": kind}

    def _parse(self, config: Any) -> tuple[str, Config, list[str]]:
        """Return the name, the arguments, and the names to look up in `custom_objects`."""
        if _is_lambda(config):
            raise ValueError(self._unknown("<lambda>"))
        if isinstance(config, str):
            return config, {}, [config, config.rpartition(">")[2]]
        if not isinstance(config, dict) or not isinstance(config.get("class_name"), str):
            rule = "a name or a dict with a `class_name`"
            raise ValueError(argument_error(self.kind, "config", rule, config))
        name, inner = config["class_name"], config.get("config")
        if name == "function" and isinstance(inner, str):
            return inner, {}, [inner, inner.rpartition(">")[2]]
        if inner is not None and not isinstance(inner, dict):
            raise ValueError(argument_error(self.kind, "config", "a dict inside the dict", config))
        registered = config.get("registered_name")
        names = [registered] if isinstance(registered, str) else []
        return name, dict(inner or {}), [*names, name, name.rpartition(">")[2]]

    def _unknown(self, name: str) -> str:
        if name == "<lambda>":
            rule = "no lambda, whose code is not run"
            return argument_error(self.kind, "config", rule, name, _NO_LAMBDA)
        known = sorted(self.table)
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        remedy = f"{hint}Your own objects go in `custom_objects`."
        return argument_error(self.kind, "name", f"one of {', '.join(known)}", name, remedy)


def _create_instance(cls: Any, arguments: Config) -> Any:
    make = getattr(cls, "from_config", None)
    try:
        return make(arguments) if make is not None else cls(**arguments)
    except TypeError as error:
        rule = "a config that the class takes"
        message = argument_error(cls.__name__, "config", rule, arguments)
        raise TypeError(f"{message} {error}") from error


def _is_lambda(config: Any) -> bool:
    """Return whether a config of any Keras holds the code of a lambda."""
    if not isinstance(config, dict):
        return False
    is_bare = config.keys() == {"value"} and isinstance(config["value"], (list, tuple))
    return is_bare or config.get("class_name") == "__lambda__"


def _is_foreign(config: Config) -> bool:
    """Return whether a dict describes an object of another package than Keras."""
    module = config.get("module", "keras")
    outside = not isinstance(module, str) or module.split(".")[0] not in _KERAS
    return outside or ">" in str(config.get("registered_name"))
