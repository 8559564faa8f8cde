"""Configs for the readers of earlier versions of Keras 3."""

from __future__ import annotations

import copy

import pytest

from kerastorch.layers import Conv2D

VERSIONS = [f"3.{minor}" for minor in range(16)]
FIRST, NEWEST = VERSIONS[0], VERSIONS[-1]


def since(minor: int) -> list[tuple[str, bool]]:
    """Return (version, whether it is 3.`minor` or later) of each."""
    return [(f"3.{n}", n >= minor) for n in range(16)]


def layer(**arguments):
    return Conv2D(4, (2, 3), name="layer", **arguments)


def test_the_newest_is_the_default():
    assert layer().get_config(NEWEST) == layer().get_config()


def test_a_patch_version_counts_as_its_minor_one():
    assert layer().get_config("3.3.3") == layer().get_config("3.3")
    assert layer().get_config("3.15.1") == layer().get_config()


@pytest.mark.parametrize("target, is_dict", since(4))
def test_dtype_is_a_dict_since_3_4(target, is_dict):
    found = layer(dtype="mixed_float16").get_config(target)["dtype"]
    whole = {
        "module": "keras",
        "class_name": "DTypePolicy",
        "config": {"name": "mixed_float16"},
        "registered_name": None,
    }
    assert found == (whole if is_dict else "mixed_float16")


@pytest.mark.parametrize("target, known", since(15))
def test_initializers_have_axes_since_3_15(target, known):
    config = layer(kernel_initializer="he_normal").get_config(target)
    axes = {"input_axes": None, "output_axes": None} if known else {}
    assert config["kernel_initializer"]["config"] == {"seed": None, **axes}
    assert config["bias_initializer"]["config"] == {}


@pytest.mark.parametrize("target, known", since(7))
def test_orthogonal_has_its_short_name_since_3_7(target, known):
    found = layer(kernel_initializer="orthogonal").get_config(target)["kernel_initializer"]
    assert found["class_name"] == ("Orthogonal" if known else "OrthogonalInitializer")
    assert found["config"] == {"seed": None, "gain": 1.0}


@pytest.mark.parametrize("target, known", since(3))
def test_lora_is_there_since_3_3(target, known):
    adapted = layer(lora_rank=2)
    if known:
        assert adapted.get_config(target)["lora_rank"] == 2
    else:
        with pytest.raises(ValueError, match=r"^get_config: `lora_rank` must be None for Keras 3"):
            adapted.get_config(target)
    assert "lora_rank" not in layer().get_config(target)


@pytest.mark.parametrize("target, known", since(10)[3:])
def test_lora_alpha_is_there_since_3_10(target, known):
    assert layer(lora_rank=2).get_config(target).get("lora_alpha") == (2 if known else None)
    scaled = layer(lora_rank=2, lora_alpha=0.5)
    if known:
        assert scaled.get_config(target)["lora_alpha"] == 0.5
    else:
        with pytest.raises(ValueError, match=r"^get_config: `lora_alpha` must be 2 for Keras 3"):
            scaled.get_config(target)


def test_axes_that_an_older_reader_would_lose_are_refused():
    initializer = {
        "class_name": "GlorotUniform",
        "config": {"seed": 1, "input_axes": [0, 1, 2], "output_axes": [3]},
    }
    whole = layer(kernel_initializer=initializer)
    assert whole.get_config()["kernel_initializer"]["config"]["output_axes"] == [3]
    with pytest.raises(ValueError, match=r"^get_config: `input_axes` must be None for Keras 3\.14"):
        whole.get_config("3.14")


@pytest.mark.parametrize("target", VERSIONS)
def test_a_config_for_any_version_makes_the_same_layer(target):
    made = layer(
        strides=(2, 1),
        padding="same",
        activation="relu",
        kernel_initializer="orthogonal",
        kernel_regularizer="l2",
        bias_constraint="non_neg",
        dtype="mixed_bfloat16",
    )
    config = made.get_config(target)
    given = copy.deepcopy(config)
    assert Conv2D.from_config(config).get_config() == made.get_config()
    assert config == given


def test_writing_for_an_old_version_leaves_the_layer_as_it_was():
    made = layer(kernel_initializer="orthogonal")
    before = made.get_config()
    made.get_config(FIRST)
    assert made.get_config() == before


@pytest.mark.parametrize(
    "target",
    ["2.15", "3.16", "4.0", "3", "", "3.x", "3.\u00b2", "keras", "3.-1", ".3.1", 3.1, (3, 1)],
    ids=ascii,
)
def test_a_version_that_is_none_is_refused(target):
    with pytest.raises(ValueError, match=r"^get_config: `target` must be a version of Keras from"):
        layer().get_config(target)
