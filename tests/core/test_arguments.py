"""Argument normalisers: what they take, what they return, what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kerastorch._core import arguments as arguments_module
from kerastorch._core import errors


def refused(function, value, *arguments, **options):
    """Assert that `function` refuses `value` in the one template."""
    with pytest.raises(ValueError, match=r"^Owner: `argument` must be .*\. Received: argument="):
        function("Owner", "argument", value, *arguments, **options)


@pytest.mark.parametrize(
    "arguments, options, message",
    [
        (("O", "a", "even", 3), {}, "O: `a` must be even. Received: a=3."),
        (("O", "a", "even", "x"), {}, "O: `a` must be even. Received: a='x'."),
        (("O", "a", "even", 3, "Add 1."), {}, "O: `a` must be even. Received: a=3. Add 1."),
        (("O", "a", "even", 3), {"b": "x"}, "O: `a` must be even. Received: a=3, b='x'."),
        (
            ("O", "a", "even", None, "Add 1."),
            {"b": (1, 2), "c": None},
            "O: `a` must be even. Received: a=None, b=(1, 2), c=None. Add 1.",
        ),
    ],
    ids=["plain", "repr", "remedy", "related", "all"],
)
def test_problem_fills_the_template(arguments, options, message):
    assert errors.argument_error(*arguments, **options) == message


SHORT = {
    "none": None,
    "text": "x" * 198,
    "list": [1, (2.5, "a"), {"b": {3}}],
    "dict": {"z": 1, "a": 2},
    "tuple": ((1,), ()),
    "array": np.zeros((2, 3), "float32"),
    "tensor": torch.ones(3, requires_grad=True),
    "size": torch.Size([2, 3]),
    "class": np.ndarray,
    "layer": torch.nn.Linear(2, 3),
}


@pytest.mark.parametrize("value", SHORT.values(), ids=SHORT)
def test_a_short_value_is_shown_whole(value):
    assert errors.short_repr(value) == repr(value)


class Long:
    """An object whose repr is long, and that has no length."""

    def __repr__(self):
        return "Long" * 1000


def test_tensors_in_a_list_are_shown_by_their_shapes():
    shown = "<Tensor of the shape (2, 3) and the type torch.float32>"
    assert errors.short_repr([torch.ones(2, 3), None]) == f"[{shown}, None]"


MANY = 1_000_000
ONE = torch.zeros(1000)
LONG = {
    "text": ("x" * MANY, f"'{'x' * 149}... (str of length {MANY})"),
    "bytes": (b"x" * MANY, f"b'{'x' * 148}... (bytes of length {MANY})"),
    "list": ([7] * MANY, f"[{'7, ' * 49}7,... (list of length {MANY})"),
    "tuple": ((7,) * MANY, f"({'7, ' * 49}7,... (tuple of length {MANY})"),
    "array": (
        np.zeros((100, 100, 100), "float32"),
        "<ndarray of the shape (100, 100, 100) and the type float32>",
    ),
    "tensor": (
        torch.zeros(10, 10, requires_grad=True),
        "<Tensor of the shape (10, 10) and the type torch.float32>",
    ),
    "parameter": (
        torch.nn.Parameter(torch.zeros(10, 10)),
        "<Parameter of the shape (10, 10) and the type torch.float32>",
    ),
    "object": (Long(), f"{'Long' * 37}Lo... (Long)"),
    "integer": (10**5000, "<int>"),
}


@pytest.mark.parametrize("value, expected", LONG.values(), ids=LONG)
def test_a_long_value_is_cut(value, expected):
    assert errors.short_repr(value) == expected
    said = errors.argument_error("O", "a", "even", 3, "Add 1.", b=value)
    assert said == f"O: `a` must be even. Received: a=3, b={expected}. Add 1."


@pytest.mark.parametrize(
    "value",
    [[ONE] * MANY, dict.fromkeys(range(MANY), ONE), set(range(MANY)), [[7] * MANY], range(MANY)],
    ids=["tensors", "dict", "set", "nested", "range"],
)
def test_any_value_makes_a_message_that_can_be_read(value):
    assert len(errors.short_repr(value)) <= 200  # without the repr of each element


INTEGERS = {
    "int": (3, 3),
    "one": (1, 1),
    "bool": (True, 1),
    "numpy": (np.int64(3), 3),
    "numpy-0d": (np.array(3), 3),
    "torch-0d": (torch.tensor(3), 3),
    "huge": (2**70, 2**70),
}
NOT_INTEGERS = {
    "zero": 0,
    "negative": -1,
    "false": False,
    "float": 3.0,
    "text": "3",
    "none": None,
    "list": [3],
    "complex": 3j,
}


@pytest.mark.parametrize("value, expected", INTEGERS.values(), ids=INTEGERS)
def test_positive_integer(value, expected):
    found = arguments_module.as_positive_int("Owner", "argument", value)
    assert (found, type(found)) == (expected, int)


@pytest.mark.parametrize("value", NOT_INTEGERS.values(), ids=NOT_INTEGERS)
def test_positive_integer_refuses(value):
    refused(arguments_module.as_positive_int, value)


@pytest.mark.parametrize(
    "value, expected",
    [
        (2, (2, 2)),
        (True, (1, 1)),
        ((2, 3), (2, 3)),
        ([2, 3], (2, 3)),
        (np.array([2, 3]), (2, 3)),
        (torch.Size([2, 3]), (2, 3)),
        (torch.tensor([2, 3]), (2, 3)),
        ((np.int32(2), True), (2, 1)),
        (iter([2, 3]), (2, 3)),
        (range(2, 4), (2, 3)),
    ],
    ids=lambda value: str(value) if isinstance(value, (int, tuple)) else type(value).__name__,
)
def test_positive_integers(value, expected):
    found = arguments_module.as_positive_ints("Owner", "argument", value, 2)
    assert found == expected
    assert {type(n) for n in found} == {int}


@pytest.mark.parametrize(
    "value",
    [0, 2.0, None, "23", {}, (), (2,), (2, 3, 4), (2, 0), (-2, 3), (2, 3.0), (2, "3"), (2, [3])],
    ids=repr,
)
def test_positive_integers_refuses(value):
    refused(arguments_module.as_positive_ints, value, 2)


@given(st.integers(1, 4), st.integers(1, 1000))
def test_one_integer_stands_for_all(count, value):
    one = arguments_module.as_positive_ints("Owner", "argument", value, count)
    assert one == arguments_module.as_positive_ints("Owner", "argument", [value] * count, count)
    assert len(one) == count


@pytest.mark.parametrize("value", ["valid", "VALID", "Valid"])
def test_choice_takes_any_case(value):
    assert arguments_module.as_choice("Owner", "argument", value, ("valid", "same")) == "valid"


@pytest.mark.parametrize("value", ["causal", "", "valid ", None, 1, ("valid",), b"valid"], ids=repr)
def test_choice_refuses(value):
    refused(arguments_module.as_choice, value, ("valid", "same"))


@pytest.mark.parametrize(
    "value, least, expected",
    [(0, 0.0, 0.0), (2, 0.0, 2.0), (0.5, 0.0, 0.5), (True, 0.0, 1.0), (np.float64(0.5), 0.5, 0.5)],
    ids=["zero", "int", "float", "bool", "numpy"],
)
def test_number(value, least, expected):
    found = arguments_module.as_number("Owner", "argument", value, "a number", least=least)
    assert (found, type(found)) == (expected, float)


@pytest.mark.parametrize(
    "value, least",
    [
        (-0.5, 0.0),
        (0.5, 1.0),
        (math.inf, 0.0),
        (-math.inf, 0.0),
        (math.nan, 0.0),
        (10**400, 0.0),
        ("1", 0.0),
        (None, 0.0),
        ([1.0], 0.0),
        (1j, 0.0),
    ],
    ids=["negative", "least", "inf", "-inf", "nan", "huge", "text", "none", "list", "complex"],
)
def test_number_refuses(value, least):
    refused(arguments_module.as_number, value, "a number", least=least)


@pytest.mark.parametrize(
    "value, rank, expected",
    [
        ((None, 5, 6, 3), 4, (None, 5, 6, 3)),
        ([0, 5], 2, (0, 5)),
        (torch.Size([2, 5]), 2, (2, 5)),
        (np.array([2, 5]), 2, (2, 5)),
        (iter([None, 5]), 2, (None, 5)),
        ((), 0, ()),
    ],
    ids=["none", "list", "torch", "numpy", "iterator", "empty"],
)
def test_shape(value, rank, expected):
    found = arguments_module.as_shape("Owner", "argument", value, rank)
    assert found == expected
    assert {type(n) for n in found} <= {int, type(None)}


@pytest.mark.parametrize(
    "value", [5, None, "55", (5,), (5, 5, 5), (5, -1), (5, 2.0), (5, "2"), (5, (2,))], ids=repr
)
def test_shape_refuses(value):
    refused(arguments_module.as_shape, value, 2)


def test_shape_shows_what_an_iterator_gave():
    with pytest.raises(ValueError, match=r"Received: argument=\(5, -1\)\.$"):
        arguments_module.as_shape("Owner", "argument", iter([5, -1]), 2)


@pytest.mark.parametrize("batch, words", [(True, "with the batch"), (False, "without the batch")])
def test_shape_says_whether_the_batch_counts(batch, words):
    with pytest.raises(ValueError, match=f"2 dimensions {words}"):
        arguments_module.as_shape("Owner", "argument", (), 2, batch=batch)


# Each normalizer -> its arguments after the value, and its rule
RULES = {
    "as_positive_int": ((), "a positive integer"),
    "as_positive_ints": ((2,), "a positive integer or 2 of them"),
    "as_pairs": ((2,), "an integer >= 0, 2 of them, or 2 pairs of them"),
    "as_choice": ((("valid", "same"),), "'valid' or 'same', in any case"),
    "as_number": (("a finite number >= 0",), "a finite number >= 0"),
    "as_shape": ((3,), "a shape of 3 dimensions with the batch, each an integer >= 0 or None"),
    "as_shape_of_any_rank": ((2,), "a shape of 2 dimensions or more with the batch"),
}


@pytest.mark.parametrize("name", RULES)
def test_the_whole_message_of_each_normalizer(name):
    arguments, rule = RULES[name]
    with pytest.raises(ValueError) as caught:
        getattr(arguments_module, name)("Owner", "argument", (-1,), *arguments)
    assert str(caught.value) == f"Owner: `argument` must be {rule}. Received: argument=(-1,)."
