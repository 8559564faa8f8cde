"""The names of these namespaces, and what they mean, compared with Keras."""

import inspect
import math
import warnings

import pytest
import torch

from compat.namespaces.comparing import NAMES, VOCABULARIES, assert_same

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    keras = pytest.importorskip("keras")


def test_the_comparison_can_fail():
    one = torch.tensor([1.0, math.nan])
    assert_same(one, one.clone())
    for other in (torch.tensor([1.0000001, math.nan]), torch.tensor([1.0, 0.0]), one.double()):
        with pytest.raises(AssertionError):
            assert_same(one, other)


@pytest.mark.parametrize("place", VOCABULARIES)
def test_every_public_name_is_there(place):
    ours, theirs, _ = VOCABULARIES[place]
    public = {name for name in dir(theirs) if not name.startswith("_")}
    assert public - set(dir(ours)) == set()


@pytest.mark.parametrize("place", VOCABULARIES)
def test_aliases_are_the_same_objects(place):
    ours, theirs, _ = VOCABULARIES[place]
    names = [name for name in dir(theirs) if not name.startswith("_")]
    for first in names:
        for second in names:
            same = getattr(theirs, first) is getattr(theirs, second)
            assert (getattr(ours, first) is getattr(ours, second)) == same, (first, second)


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (place, name)
        for place, (_, theirs, _) in VOCABULARIES.items()
        for name in dir(theirs)
        if not name.startswith("_")
    ],
)
def test_signatures(place, name):
    ours, theirs, _ = VOCABULARIES[place]

    def arguments(found):
        parameters = inspect.signature(found).parameters.values()
        return [(p.name, p.kind, p.default) for p in parameters if p.kind != p.VAR_KEYWORD]

    mine, other = getattr(ours, name), getattr(theirs, name)
    assert arguments(mine) == arguments(other)
    if inspect.isclass(mine):
        assert arguments(mine.__call__) == arguments(other.__call__)


@pytest.mark.parametrize(("place", "name"), NAMES)
def test_every_accepted_name_means_the_same(place, name):
    ours, theirs, _ = VOCABULARIES[place]
    try:
        expected = theirs.get(name)
    except KeyError:  # "constant" and "Constant"
        with pytest.raises(KeyError):
            ours.get(name)
        return
    found = ours.get(name)
    if place == "activations":
        assert found.__name__ == expected.__name__
        return
    assert type(found).__name__ == type(expected).__name__
    if expected.get_config.__qualname__ != "Regularizer.get_config":
        assert found.get_config() == expected.get_config()


@pytest.mark.parametrize("place", VOCABULARIES)
@pytest.mark.parametrize(
    "identifier",
    [
        "", " relu", "RELU", "ReLU", "nope", "Relu", "GLOROT_UNIFORM", "glorotuniform", "Zero",
        "l1_l2", "L1_L2", "maxnorm", "get", "serialize", "deserialize", "keras", 5, 1.5, True,
        [], (), ["relu"], {}, {"config": {}}, {"class_name": "nope", "config": {}},
    ],
)  # fmt: skip
def test_what_keras_refuses_is_refused(place, identifier):
    ours, theirs, _ = VOCABULARIES[place]
    if isinstance(identifier, dict):
        identifier = dict(identifier)
    with pytest.raises((ValueError, TypeError, AttributeError, KeyError)) as error:
        theirs.get(identifier)
    # Keras's own words for a dict that says nothing differ by place and by accident.
    expected = ValueError if isinstance(identifier, dict) else error.type
    with pytest.raises(expected):
        ours.get(identifier)
