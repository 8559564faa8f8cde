"""The parameters of classes that stand for several blocks, and runs of blocks as loops."""

from __future__ import annotations

from typing import Any

import pytest

from kerastorch.plain.blocks.families import BlockCall, Family, Leaf, find_progression, unify


def test_columns_become_few_parameters() -> None:
    names = ("in_channels", "out_channels", "in_channels", "out_channels", "stride")
    rows = [(n, 6 * n, 6 * n, n // 4, stride) for n, stride in ((16, 1), (24, 2), (40, 1))]
    found = unify([[Leaf(k // 2, names[k], n) for k, n in enumerate(row)] for row in rows])
    assert found is not None
    assert found.parameters == ["channels", "stride"]
    assert found.arguments == [(16, 1), (24, 2), (40, 1)]
    assert found.expressions == {
        (0, "in_channels"): "channels",
        (0, "out_channels"): "6 * channels",
        (1, "in_channels"): "6 * channels",
        (1, "out_channels"): "channels // 4",
        (2, "stride"): "stride",
    }


def test_sizes_are_no_multiples_of_strides() -> None:
    blocks = [[Leaf(0, "in_channels", 8 * n), Leaf(0, "stride", n)] for n in (1, 2)]
    found = unify(blocks)
    assert found is not None
    assert found.parameters == ["channels", "stride"]


def test_too_many_differing_sizes_are_no_class() -> None:
    rows = ((3, 5, 7, 11, 13, 17), (17, 11, 13, 7, 5, 3))
    assert unify([[Leaf(k, "in_channels", n) for k, n in enumerate(row)] for row in rows]) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((8, 8, 8), (3, ["8"])),
        ((8, 12, 16, 21), (3, ["8 + 4 * i"])),
        ((9, 8, 7), (3, ["9 - i"])),
        ((0, 4, 8), (3, ["4 * i"])),
        ((8, 8, 12), (2, ["8"])),
        ((0.1, 0.2, 0.3), (1, ["0.1"])),
    ],
)
def test_runs_of_blocks_are_loops_where_they_grow_evenly(values: Any, expected: Any) -> None:
    family = Family("Block", [], ["channels"], {})
    assert find_progression([BlockCall(family, (one,)) for one in values]) == expected
