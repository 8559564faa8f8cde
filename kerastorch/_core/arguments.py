"""Argument checks and conversions. Plain Python."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from .errors import argument_error

IntOrInts: TypeAlias = int | Sequence[int]

PATH_RULE = "a path that is not empty and has no null character"
_BATCH = {True: "with the batch", False: "without the batch"}


def as_path(owner: str, argument: str, value: Any) -> Any:
    """Return a path as a `Path` and any other value unchanged; refuse an empty path."""
    if not isinstance(value, (str, bytes, os.PathLike)):
        return value
    text = os.fsdecode(value)
    if not text or "\0" in text:  # `Path("")` would be the current directory
        raise ValueError(argument_error(owner, argument, PATH_RULE, value))
    return Path(text)


def as_positive_int(owner: str, argument: str, value: Any) -> int:
    """Return `value` as an int, at least 1. Booleans count as 0 and 1, as in Keras."""
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if number < 1:
        raise ValueError(argument_error(owner, argument, "a positive integer", value))
    return number


def as_positive_ints(owner: str, argument: str, value: Any, count: int) -> tuple[int, ...]:
    """Return `count` integers, each at least 1, from one integer or an iterable of them."""
    return _as_ints(owner, argument, value, count, 1, "a positive integer")


def as_nonnegative_ints(owner: str, argument: str, value: Any, count: int) -> tuple[int, ...]:
    """Return `count` integers, each at least 0, from one integer or an iterable of them."""
    return _as_ints(owner, argument, value, count, 0, "an integer >= 0")


def _as_ints(
    owner: str, argument: str, value: Any, count: int, least: int, rule: str
) -> tuple[int, ...]:
    try:
        numbers = tuple(map(operator.index, _repeat(value, count)))
    except TypeError:
        numbers = ()
    if len(numbers) != count or min(numbers) < least:
        raise ValueError(argument_error(owner, argument, f"{rule} or {count} of them", value))
    return numbers


def as_pairs(owner: str, argument: str, value: Any, count: int) -> tuple[tuple[int, int], ...]:
    """Return `count` pairs of integers >= 0, from an integer or an iterable of them or of pairs.

    One pair is given by itself.
    """
    try:
        given = [value] if count == 1 else _repeat(value, count)
        found = [tuple(e) if isinstance(e, Iterable) else (e, e) for e in given]
        numbers = [tuple(map(operator.index, pair)) for pair in found]
    except TypeError:
        numbers = []
    if len(numbers) != count or any(len(pair) != 2 or min(pair) < 0 for pair in numbers):
        several = f"{count} of them, or {count} pairs of them"
        rule = f"an integer >= 0{' or two' if count == 1 else f', {several}'}"
        raise ValueError(argument_error(owner, argument, rule, value))
    return tuple((before, after) for before, after in numbers)


def _repeat(value: Any, count: int) -> list[Any]:
    """Return `count` times an integer, or the elements of an iterable."""
    try:
        return [operator.index(value)] * count
    except TypeError:
        return list(value)


def as_choice(owner: str, argument: str, value: Any, allowed: Sequence[str]) -> str:
    """Return `value` in lower case if it is one of `allowed`, in any case."""
    folded = value.lower() if isinstance(value, str) else ""
    if folded not in allowed:
        rule = " or ".join(repr(name) for name in allowed) + ", in any case"
        raise ValueError(argument_error(owner, argument, rule, value))
    return folded


def as_number(owner: str, argument: str, value: Any, rule: str, *, least: float = 0.0) -> float:
    """Return `value` as a finite float that is at least `least`."""
    try:
        found = float(value) if isinstance(value, (int, float)) else math.nan
    except OverflowError:  # an integer beyond the largest float
        found = math.inf
    if not (math.isfinite(found) and found >= least):
        raise ValueError(argument_error(owner, argument, rule, value))
    return found


def as_shape(
    owner: str, argument: str, value: Any, rank: int, *, batch: bool = True, **related: object
) -> tuple[int | None, ...]:
    """Return a shape of `rank` dimensions as a tuple, in which None is an unknown size."""
    given: Any = value
    dimensions: tuple[int | None, ...] | None = None
    if isinstance(value, Iterable) and not isinstance(value, str):
        given = tuple(value)
        try:
            dimensions = tuple(None if n is None else operator.index(n) for n in given)
        except TypeError:  # not by `suppress`, which Dynamo of torch 2.6 cannot trace
            dimensions = None
    if dimensions is None or len(dimensions) != rank or any((n or 0) < 0 for n in dimensions):
        rule = f"a shape of {rank} dimensions {_BATCH[batch]}, each an integer >= 0 or None"
        raise ValueError(argument_error(owner, argument, rule, given, "", **related))
    return dimensions


def as_shape_of_any_rank(
    owner: str, argument: str, value: Any, least: int, *, batch: bool = True, **related: object
) -> tuple[int | None, ...]:
    """Return a shape of at least `least` dimensions as a tuple, as `as_shape` does."""
    rank = least
    if isinstance(value, Iterable) and not isinstance(value, str):
        value = tuple(value)
        rank = len(value)
        if rank < least:
            rule = f"a shape of {least} dimensions or more {_BATCH[batch]}"
            raise ValueError(argument_error(owner, argument, rule, value, "", **related))
    return as_shape(owner, argument, value, rank, batch=batch, **related)
