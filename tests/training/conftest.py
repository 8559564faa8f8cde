"""Two processes for the tests of a module."""

from collections.abc import Iterator

import pytest

from tests.training.two_processes import Pair


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with Pair() as found:
        yield found
