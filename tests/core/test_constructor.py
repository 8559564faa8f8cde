"""What a constructor says of missing, surplus and unknown arguments: it names the class called."""

from __future__ import annotations

import functools
import inspect
from abc import ABC, abstractmethod

import pytest

from kerastorch import DTypePolicy, constraints, initializers, layers, regularizers
from kerastorch._core.constructor import OwnConstructor
from tests.layers.case import every_case

BASES = (initializers.Initializer, regularizers.Regularizer, constraints.Constraint)
CLASSES = [
    *dict.fromkeys(getattr(layers, name) for name in layers.__all__),
    *dict.fromkeys(
        found
        for module in (initializers, regularizers, constraints)
        for name, found in vars(module).items()
        if not name.startswith("_") and inspect.isclass(found) and issubclass(found, BASES)
    ),
    initializers.SeedGenerator,
    DTypePolicy,
]
ARGUMENTS = {case.layer: case.arguments for case in reversed(every_case())}


def required(cls):
    """Return the names of the arguments that have no default."""
    parameters = inspect.signature(cls).parameters.values()
    return [p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD]


def positional(cls):
    parameters = inspect.signature(cls).parameters.values()
    return [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]


def refused(cls, *args, **kwargs):
    with pytest.raises((TypeError, ValueError)) as caught:
        cls(*args, **kwargs)
    return type(caught.value), str(caught.value)


def test_the_table_is_of_all_public_classes():
    assert {layers.Conv2D, initializers.GlorotUniform, regularizers.L2} < set(CLASSES)
    assert len(CLASSES) == len(set(CLASSES)) > 50
    assert {layers.Conv2D, layers.Reshape, DTypePolicy} < {c for c in CLASSES if required(c)}


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if required(cls)])
def test_a_missing_argument_names_the_class_and_the_argument(cls):
    kind, message = refused(cls)
    assert kind is TypeError
    assert message.startswith(f"{cls.__name__}.__init__() missing ")
    assert all(repr(name) in message for name in required(cls))


@pytest.mark.parametrize("cls", CLASSES)
def test_a_surplus_argument_names_the_class_and_how_many_it_takes(cls):
    names = positional(cls)
    kind, message = refused(cls, *[None] * (len(names) + 1))
    assert kind is TypeError
    least, most = len(required(cls)) + 1, len(names) + 1
    count = f"{most}" if least == most else f"from {least} to {most}"
    if inspect.isfunction(cls.__init__):
        word = "argument" if most == 1 else "arguments"
        takes = f"{cls.__name__}.__init__() takes {count} positional {word} but {most + 1} were"
        assert message == f"{takes} given"
    else:
        assert message == f"{cls.__name__}() takes no arguments"


@pytest.mark.parametrize("cls", CLASSES)
def test_an_unknown_argument_names_the_class_and_the_argument(cls):
    given = ARGUMENTS.get(cls) or dict.fromkeys(required(cls), 2)
    kind, message = refused(cls, **given, colour="red")
    if getattr(layers, cls.__name__, None) is cls:
        assert kind is ValueError
        rule = "`colour` must be one of its arguments. Received: colour='red'. It accepts "
        assert message.startswith(f"{cls.__name__}: {rule}")
    elif inspect.isfunction(cls.__init__):
        assert kind is TypeError
        unexpected = "got an unexpected keyword argument 'colour'"
        assert message.startswith(f"{cls.__name__}.__init__() {unexpected}")
    else:
        assert (kind, message) == (TypeError, f"{cls.__name__}() takes no arguments")


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if positional(cls)])
def test_an_argument_given_twice_names_the_class_and_the_argument(cls):
    name = positional(cls)[0]
    kind, message = refused(cls, None, **{name: None})
    assert (kind, message) == (
        TypeError,
        f"{cls.__name__}.__init__() got multiple values for argument {name!r}",
    )


# The rest of a class stays what it is


def test_signatures_are_the_real_ones():
    assert positional(layers.Conv2D)[:3] == ["filters", "kernel_size", "strides"]
    signature = inspect.signature(layers.AveragePooling2D)
    assert list(signature.parameters)[:2] == ["pool_size", "strides"]
    assert signature.parameters["padding"].default == "valid"
    assert next(iter(inspect.signature(initializers.HeNormal).parameters)) == "seed"
    annotation = inspect.signature(layers.Conv2D, eval_str=False).parameters["filters"].annotation
    assert annotation != inspect.Parameter.empty


class Base(OwnConstructor):
    def __init__(self, first, *, second=2):
        self.first, self.second = first, second


class Middle(Base):
    def __init__(self, third, **others):
        super().__init__(1, **others)
        self.third = third


class Last(Middle, ABC):
    pass


def test_a_copy_does_what_its_original_does():
    last = Last(3, second=5)
    assert (last.first, last.second, last.third) == (1, 5, 3)
    assert Last.__init__.__name__ == "__init__" and Last.__init__.__module__ == __name__
    assert inspect.getsource(Last.__init__) == inspect.getsource(Middle.__init__)
    assert Middle.__init__.__qualname__ == "Middle.__init__"


# Subclasses of a user's own


class Bare(layers.Conv2D):
    pass


class Named(layers.Conv2D):
    def __init__(self, extra, **arguments):
        super().__init__(4, **arguments)
        self.extra = extra


class Abstract(layers.Dense, ABC):
    @abstractmethod
    def more(self): ...


class Mixin:
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)


class Mixed(Mixin, layers.Dense):
    pass


def decorated(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


class Decorated(layers.Dense):
    @decorated
    def __init__(self, extra):
        super().__init__(extra)


class Inherited(Decorated):
    pass


def test_subclasses_say_their_own_names():
    assert refused(Bare, 4) == (
        TypeError,
        "Bare.__init__() missing 1 required positional argument: 'kernel_size'",
    )
    assert refused(Named) == (
        TypeError,
        "Named.__init__() missing 1 required positional argument: 'extra'",
    )
    assert refused(Named, "e") == (  # it is Named that calls Conv2D so
        TypeError,
        "Conv2D.__init__() missing 1 required positional argument: 'kernel_size'",
    )
    assert refused(Mixed)[1].startswith("Dense.__init__() missing ")
    assert refused(Abstract, 1)[1].startswith("Can't instantiate abstract class Abstract ")


def test_subclasses_work():
    assert Bare(4, 3).filters == 4
    named = Named("e", kernel_size=3)
    assert (named.extra, named.kernel_size) == ("e", (3, 3))
    assert Mixed(5).units == Inherited(5).units == 5
    assert list(inspect.signature(Inherited).parameters) == ["extra"]
    assert list(inspect.signature(Bare).parameters)[:2] == ["filters", "kernel_size"]
