"""Dtype policies: what names them, and which types they mean."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kerastorch import DTypePolicy, config, dtype_policies
from kerastorch.layers import Conv2D

FLOATS = ("float16", "bfloat16", "float32", "float64")
MIXED = {"mixed_float16": "float16", "mixed_bfloat16": "bfloat16"}


def written(class_name: str, name: object, **further: object) -> dict[str, object]:
    return {"class_name": class_name, "config": {"name": name}, **further}


@pytest.mark.parametrize("name", FLOATS)
def test_a_float_type_is_that_of_weights_and_outputs(name):
    policy = DTypePolicy(name)
    assert (policy.compute_dtype, policy.variable_dtype) == (name, name)
    assert dtype_policies.to_torch_dtype(name) is getattr(torch, name)
    assert dtype_policies.get_dtype_name(getattr(torch, name)) == name


@pytest.mark.parametrize("name", MIXED)
def test_a_mixed_policy_keeps_float32_weights(name):
    policy = DTypePolicy(name)
    assert (policy.compute_dtype, policy.variable_dtype) == (MIXED[name], "float32")


@pytest.mark.parametrize("name", [*FLOATS, *MIXED])
def test_a_policy_comes_back_from_its_config(name):
    policy = DTypePolicy(name)
    assert DTypePolicy(**policy.get_config()) == policy
    assert policy != DTypePolicy("float16" if name != "float16" else "float32")


POLICIES = {
    "name": ("mixed_bfloat16", "mixed_bfloat16"),
    "torch": (torch.float64, "float64"),
    "numpy-scalar": (np.float16, "float16"),
    "numpy-dtype": (np.dtype("float64"), "float64"),
    "big-endian": (np.dtype(">f8"), "float64"),
    "python": (float, "float32"),
    "own": (DTypePolicy("mixed_float16"), "mixed_float16"),
    "keras": (SimpleNamespace(name="mixed_float16"), "mixed_float16"),
    "keras-3": (
        written("DTypePolicy", "mixed_float16", module="keras", registered_name=None),
        "mixed_float16",
    ),
    "keras-3.0": (written("FloatDTypePolicy", "float16", module="keras"), "float16"),
    "tf.keras": (written("Policy", "mixed_bfloat16"), "mixed_bfloat16"),
    "tf.keras-v1": (written("PolicyV1", "float64", loss_scale=None), "float64"),
}


@pytest.mark.parametrize("value, name", POLICIES.values(), ids=POLICIES)
def test_policy(value, name):
    assert dtype_policies.parse_policy("Owner", value) == DTypePolicy(name)
    assert Conv2D(2, 3, dtype=value).dtype_policy == DTypePolicy(name)


def test_no_policy_is_the_default_float_type(monkeypatch):
    monkeypatch.setattr(config, "_settings", {"floatx": "float64"})
    assert dtype_policies.parse_policy("Owner", None) == DTypePolicy("float64")


REFUSED = {
    "integer": "int32",
    "torch-integer": torch.int32,
    "torch-complex": torch.complex64,
    "numpy-integer": np.int32,
    "python-int": int,
    "unknown": "float31",
    "case": "Float32",
    "empty": "",
    "float8": torch.float8_e4m3fn,
    "quantized": "int8_from_float32",
    "quantized-dict": written("QuantizedDTypePolicy", "int8_from_float32"),
    "quantized-class": written("QuantizedDTypePolicy", "float32"),
    "dtype-map": {"class_name": "DTypePolicyMap", "config": {"default_policy": "float32"}},
    "foreign-class": written("Evil", "float32"),
    "empty-dict": {},
    "no-config": {"class_name": "DTypePolicy", "config": None},
    "no-name": {"class_name": "DTypePolicy", "config": {}},
    "list-name": written("DTypePolicy", ["float32"]),
    "dict-name": written("DTypePolicy", {}),
    "list": ["float32"],
    "number": 32,
    "false": False,
}


@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED)
def test_policy_refuses(value):
    with pytest.raises(ValueError, match=r"^Owner: `dtype` must be one of 'float16', "):
        dtype_policies.parse_policy("Owner", value)


@pytest.mark.parametrize("name", ["int8", "", None, ["float32"]], ids=repr)
def test_the_class_refuses(name):
    with pytest.raises(ValueError, match=r"^DTypePolicy: `name` must be one of "):
        DTypePolicy(name)


def test_a_policy_cannot_be_changed():
    with pytest.raises(AttributeError):
        DTypePolicy("float32").name = "float16"
