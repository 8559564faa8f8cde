"""How many classes a reader of one layer meets, and where an assignment goes."""

from __future__ import annotations

import ast
from pathlib import Path

from torch import nn

from kerastorch import layers

FOLDER = Path(layers.__file__).parent


def own_bases(cls):
    """Return the package's classes between a layer's class and nn.Module, mixins included."""
    between = cls.__mro__[1 : cls.__mro__.index(nn.Module)]
    return [base for base in between if base.__module__.startswith("kerastorch")]


def definitions(source, name):
    """Return the classes of a source that define a method."""
    return [
        node.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef)
        and any(isinstance(inner, ast.FunctionDef) and inner.name == name for inner in node.body)
    ]


def in_all_files(name):
    return [
        found
        for path in sorted(FOLDER.rglob("*.py"))
        for found in definitions(path.read_text(encoding="utf-8"), name)
    ]


def test_few_classes_stand_between_a_layer_and_nn_module():
    assert len(own_bases(layers.Conv2D)) <= 6
    for name in layers.__all__:
        assert len(own_bases(getattr(layers, name))) <= 7, name


def test_one_class_looks_at_assignments():
    assert in_all_files("__setattr__") == ["Layer"]
    assert in_all_files("__getattr__") == in_all_files("__delattr__") == []


def test_the_counts_tell():
    class One(nn.Module):
        def __setattr__(self, name, value): ...

    class Two(layers.Conv2D):
        pass

    assert own_bases(One) == []
    assert len(own_bases(Two)) == 6
    assert definitions("class A:\n def __setattr__(self): ...\n def f(self): ...", "f") == ["A"]
