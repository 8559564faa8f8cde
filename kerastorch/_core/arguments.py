"""Argument normalisers and the one error template. Plain Python."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from .errors import problem

PATH = "a path that is not empty and has no null character"


def path(owner: str, argument: str, value: Any) -> Any:
    """Return a path as a `Path`, and all else as it is.

    An empty one is refused, since `Path("")` is the current directory.
    """
    if not isinstance(value, (str, bytes, os.PathLike)):
        return value
    text = os.fsdecode(value)
    if not text or "\0" in text:
        raise ValueError(problem(owner, argument, PATH, value))
    return Path(text)


def positive_integer(owner: str, argument: str, value: Any) -> int:
    """Return `value` as an int, at least 1. Booleans count as 0 and 1, as in Keras."""
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if number < 1:
        raise ValueError(problem(owner, argument, "a positive integer", value))
    return number


def positive_integers(owner: str, argument: str, value: Any, count: int) -> tuple[int, ...]:
    """Return `count` integers, each at least 1, from one integer or an iterable of them."""
    rule = f"a positive integer or {count} of them"
    try:
        values = (operator.index(value),) * count
    except TypeError:
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise ValueError(problem(owner, argument, rule, value)) from None
        values = tuple(value)
    if len(values) != count:
        raise ValueError(problem(owner, argument, rule, value))
    try:
        numbers = tuple(map(operator.index, values))
    except TypeError:
        raise ValueError(problem(owner, argument, rule, value)) from None
    if min(numbers) < 1:
        raise ValueError(problem(owner, argument, rule, value))
    return numbers


def pairs(owner: str, argument: str, value: Any, count: int) -> tuple[tuple[int, int], ...]:
    """Return `count` pairs (before, after) of integers, each at least 0.

    They come from one integer for all, or an iterable of `count` integers or pairs.
    """
    rule = f"an integer >= 0, {count} of them, or {count} pairs of them"
    try:
        try:
            given = [operator.index(value)] * count
        except TypeError:
            given = list(value)
        found = [tuple(e) if isinstance(e, Iterable) else (e, e) for e in given]
        numbers = tuple(tuple(map(int, map(operator.index, pair))) for pair in found)
    except TypeError:
        raise ValueError(problem(owner, argument, rule, value)) from None
    if len(numbers) != count or any(len(pair) != 2 or min(pair) < 0 for pair in numbers):
        raise ValueError(problem(owner, argument, rule, value))
    return tuple((before, after) for before, after in numbers)


def choice(owner: str, argument: str, value: Any, allowed: Sequence[str]) -> str:
    """Return `value` in lower case where it is one of `allowed`, in any case."""
    folded = value.lower() if isinstance(value, str) else ""
    if folded not in allowed:
        rule = " or ".join(repr(name) for name in allowed) + ", in any case"
        raise ValueError(problem(owner, argument, rule, value))
    return folded


def number(owner: str, argument: str, value: Any, rule: str, *, least: float = 0.0) -> float:
    """Return `value` as a float that is finite and at least `least`."""
    try:
        found = float(value) if isinstance(value, (int, float)) else math.nan
    except OverflowError:  # an integer beyond the largest float
        found = math.inf
    if not (math.isfinite(found) and found >= least):
        raise ValueError(problem(owner, argument, rule, value))
    return found


def shape(
    owner: str, argument: str, value: Any, rank: int, *, batch: bool = True, **related: object
) -> tuple[int | None, ...]:
    """Return a shape of `rank` dimensions as a tuple; None stands for a size not known.

    Args:
        owner: Who asks.
        argument: The argument's name.
        value: The shape.
        rank: The number of dimensions it must have.
        batch: Whether the first of them is the batch.
        **related: Other values that the message shows.
    """
    rule = (
        f"a shape of {rank} dimensions {'with' if batch else 'without'} the batch, "
        "each an integer >= 0 or None"
    )
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ValueError(problem(owner, argument, rule, value, "", **related))
    given = tuple(value)
    try:
        dimensions = tuple(None if n is None else operator.index(n) for n in given)
    except TypeError:
        raise ValueError(problem(owner, argument, rule, given, "", **related)) from None
    if len(dimensions) != rank or any(n is not None and n < 0 for n in dimensions):
        raise ValueError(problem(owner, argument, rule, given, "", **related))
    return dimensions


def any_shape(
    owner: str, argument: str, value: Any, least: int, *, batch: bool = True, **related: object
) -> tuple[int | None, ...]:
    """Return a shape of at least `least` dimensions as `shape` returns one of a given rank."""
    given = value
    if isinstance(value, Iterable) and not isinstance(value, str):
        given = tuple(value)
        if len(given) < least:
            rule = (
                f"a shape of {least} dimensions or more {'with' if batch else 'without'} the batch"
            )
            raise ValueError(problem(owner, argument, rule, given, "", **related))
        return shape(owner, argument, given, len(given), batch=batch, **related)
    return shape(owner, argument, given, least, batch=batch, **related)


Integers: TypeAlias = int | Sequence[int]
