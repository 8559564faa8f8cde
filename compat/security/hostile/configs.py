"""Hostile configs: what a model's JSON may name, and what it may claim."""

from __future__ import annotations

import base64
import json
import marshal
import pickle
from functools import partial
from typing import Any

import h5py

from compat.security.hostile.parts import (
    Case,
    Place,
    archive,
    called,
    conv,
    functional,
    genuine,
    input_layer,
    layer,
    legacy,
    sequential,
    tensor,
)

HUGE = 2**40


class _Command:
    """What makes a directory when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        import os

        return os.mkdir, (self.path,)


def payload(place: Place) -> bytes:
    """Return a pickle that touches the outside when it is loaded."""
    return pickle.dumps(_Command(str(place.touched)))


def code(place: Place) -> dict[str, Any]:
    """Return a function's bytecode as Keras writes it, which touches the outside when called."""
    source = f"lambda x: __import__('os').mkdir({str(place.touched)!r}) or x"
    text = base64.b64encode(marshal.dumps(compile(source, "<x>", "eval").co_consts[0])).decode()
    return {"class_name": "__lambda__", "config": {"code": text, "defaults": None, "closure": None}}


def _lambda(place: Place) -> dict[str, Any]:
    return sequential(layer("Lambda", name="l", function=code(place), arguments={}), conv())


def _lambda_legacy(place: Place) -> None:
    old = {"name": "l", "function": [code(place)["config"]["code"], None, None]}
    old |= {"function_type": "lambda", "output_shape_type": "raw", "arguments": {}}
    with legacy(place.path, sequential({"class_name": "Lambda", "config": old}, conv())):
        pass


def _gadget(module: str, name: str, *args: Any, place: Place, **kwargs: Any) -> None:
    """Write a functional model whose `layer` is any function, called on any arguments."""
    shown = [str(place.touched) if arg == "TOUCHED" else arg for arg in args]
    shown_too = {k: str(place.touched) if v == "TOUCHED" else v for k, v in kwargs.items()}
    entry = called(layer(name, module, name="x"), *shown, **shown_too)
    archive(place, functional(called(conv(), tensor()), entry, last="conv2d"))


def gadget(module: str, name: str, *args: Any, **kwargs: Any) -> Any:
    return lambda place: _gadget(module, name, *args, place=place, **kwargs)


def _spoilt(**changed: Any) -> Any:
    """Return what writes a model whose Conv2D has other arguments; callables get the place."""

    def write(place: Place) -> None:
        filled = {k: v(place) if callable(v) else v for k, v in changed.items()}
        archive(place, sequential(conv(**filled)))

    return write


def _with(*layers: Any) -> Any:
    """Return what writes a model with these layers before its Conv2D."""
    return lambda place: archive(
        place, sequential(*[entry(place) if callable(entry) else entry for entry in layers], conv())
    )


def _unsafe(place: Place) -> None:
    switch = {
        "module": "keras.config",
        "class_name": "enable_unsafe_deserialization",
        "config": None,
        "registered_name": None,
    }
    archive(place, sequential(switch, *_lambda(place)["config"]["layers"][1:]))


def _wrapper(place: Place) -> dict[str, Any]:
    text = base64.b64encode(payload(place)).decode()
    inner = {"class_name": "__bytes__", "config": {"value": text}}
    return layer("TorchModuleWrapper", name="w", module=inner)


def _policies(place: Place) -> None:
    inner = {"default_policy": "float32", "policy_map": {"(a*)*b": "float32"}}
    policies = {"module": "keras.dtype_policies", "class_name": "DTypePolicyMap", "config": inner}
    archive(place, sequential(conv(name="a" * 60, dtype=policies), dtype=policies))


def _nested(depth: int) -> str:
    """Return the config of models in models, which is deeper than json can write."""
    before, after = json.dumps(layer("Sequential", "keras", name="s", layers=[0])).split("0")
    return before * depth + json.dumps(genuine()) + after * depth


def _doubled(depth: int) -> dict[str, Any]:
    """Return a model that calls a model twice, which calls another twice, and so on."""
    model = {**functional(called(conv(padding="same", filters=3), tensor()), last="conv2d")}
    for number in range(depth):
        inner = {**model, "config": {**model["config"], "name": f"m{number}"}}
        twice = [called(inner, at)["inbound_nodes"][0] for at in (tensor(), tensor(f"m{number}"))]
        entry = {**inner, "name": f"m{number}", "inbound_nodes": twice}
        model = functional(entry, last=f"m{number}")
        model["config"]["output_layers"][0][1] = 2  # where Keras numbers a model's calls from 1
    return model


def _text(text: Any) -> Any:
    """Return what writes a model whose config.json is `text`."""
    return lambda place: archive(place, text() if callable(text) else text)


def _after(text: str) -> Any:
    """Return what writes a model whose config.json begins with an entry of raw JSON."""
    return _text(lambda: "{" + text + ", " + json.dumps(genuine())[1:])


def _graph(*entries: Any, last: str = "conv2d") -> Any:
    return lambda place: archive(place, functional(*entries, last=last))


def _legacy_text(text: Any) -> Any:
    def write(place: Place) -> None:
        with legacy(place.path) as file:
            del file.attrs["model_config"]
            file.attrs["model_config"] = text

    return write


def _vocabulary(source: Any) -> Any:
    return _with(
        lambda place: layer(
            "StringLookup", name="lookup", vocabulary=source(place), num_oov_indices=1
        )
    )


_case = partial(Case, refused="as a model")
_harmless = partial(Case, refused="never")  # names of modules, and claims that nothing reads
_POPEN = {
    "module": "subprocess",
    "class_name": "Popen",
    "config": {"args": ["true"]},
    "registered_name": "Popen",
}
_EVAL = {
    "module": "builtins",
    "class_name": "function",
    "config": "eval",
    "registered_name": "function",
}

CASES = (
    # What a config may name
    _case("lambda.keras", "CVE-2024-3660", "runs bytecode", lambda p: archive(p, _lambda(p))),
    _case("lambda.h5", "CVE-2025-9905", "runs bytecode", _lambda_legacy),
    _case("import_mkdir.keras", "CVE-2025-1550", "calls any function of any module",
          gadget("os", "mkdir", "TOUCHED")),
    _case("import_builtin.keras", "CVE-2025-1550", "calls a built-in function",
          gadget("builtins", "exec", "raise SystemExit")),
    _case("get_file.keras", "CVE-2025-8747", "downloads a file to a path of the config's",
          gadget("keras.utils", "get_file", "TOUCHED", origin="file:///etc/hostname")),
    _case("set_global.keras", "CVE-2025-9906", "switches the safe mode off",
          gadget("keras.src.backend.common.global_state", "set_global_attribute",
                 "safe_mode_saving", False)),
    _case("unsafe_switch.keras", "CVE-2025-9906", "switches the safe mode off, then runs bytecode",
          _unsafe),
    _case("torch_module.keras", "CVE-2025-49655", "loads a pickle", _with(_wrapper)),
    _case("torch_activation.keras", "CVE-2025-49655", "loads a pickle",
          _spoilt(activation=_wrapper)),
    _case("vocabulary_file.keras", "CVE-2025-12058", "reads any local file",
          _vocabulary(lambda place: str(place.secret))),
    _case("vocabulary_url.keras", "CVE-2025-12058", "requests any address",
          _vocabulary(lambda place: "http://127.0.0.1:9/vocabulary")),
    _case("tfsm.keras", "CVE-2026-1462", "runs a graph from a directory outside",
          _with(lambda place: layer("TFSMLayer", name="t", filepath=str(place.outside)))),
    _case("clone_lambda.keras", "CVE-2026-12481", "runs bytecode inside a wrapper",
          lambda p: archive(p, sequential(
              layer("TimeDistributed", name="t", layer=_lambda(p)["config"]["layers"][1]),
              conv()))),
    _case("registered_name.keras", "keras#22729", "is another class than it says",
          lambda p: archive(p, sequential({**conv(), "registered_name": "os>Conv2D"}))),
    _case("foreign_class.keras", "residual", "is another class than it says",
          lambda p: archive(p, sequential({**conv(), "module": "elsewhere.layers"}))),
    _case("foreign_model.keras", "residual", "is another class than it says",
          lambda p: archive(p, {**genuine(), "module": "elsewhere.models"})),
    _case("activation_lambda.keras", "residual", "runs bytecode", _spoilt(activation=code)),
    _case("activation_eval.keras", "residual", "takes any function as activation",
          _spoilt(activation=_EVAL)),
    _case("activation_dotted.keras", "residual", "imports by a dotted name",
          _spoilt(activation="os.system")),
    _case("initializer_lambda.keras", "residual", "runs bytecode",
          _spoilt(kernel_initializer=code)),
    _case("initializer_popen.keras", "residual", "starts a process",
          _spoilt(kernel_initializer=_POPEN)),
    _case("regularizer_popen.keras", "residual", "starts a process",
          _spoilt(kernel_regularizer=_POPEN)),
    _case("constraint_popen.keras", "residual", "starts a process",
          _spoilt(kernel_constraint=_POPEN)),
    _case("module_dunder.keras", "residual", "reaches attributes of objects",
          _with(layer("__class__", "keras.layers.Conv2D", name="x"))),
    _case("numpy_value.keras", "residual", "declares a huge array in the config",
          _spoilt(bias_initializer={"class_name": "__numpy__", "config":
                                    {"value": [[0] * 3] * 2, "dtype": "object"}})),
    _case("typespec.keras", "residual", "imports a type by name",
          _spoilt(dtype={"class_name": "__typespec__", "spec_name": "os", "module": "os",
                         "config": None})),
    # What a config may claim
    _case("policy_regex.keras", "residual", "hangs in a regular expression", _policies),
    _case("filters.keras", "residual", "allocates kernels before it reads any",
          _spoilt(filters=HUGE)),
    _case("kernel_size.keras", "residual", "allocates kernels before it reads any",
          _spoilt(kernel_size=[HUGE, HUGE])),
    _case("dense_units.keras", "residual", "allocates kernels before it reads any",
          _with(layer("Dense", name="dense", units=HUGE))),
    _case("input_shape.keras", "residual", "allocates by the input's shape",
          lambda p: archive(p, layer("Sequential", "keras", name="s", layers=[
              layer("InputLayer", batch_shape=[HUGE, HUGE, HUGE, 3], name="i"),
              layer("Flatten", name="f"), layer("Dense", name="dense", units=2)]))),
    _harmless("build_shape.keras", "residual", "builds for a shape of the config's",
          lambda p: archive(p, sequential(
              {**conv(), "build_config": {"input_shape": [None, 5, 7, HUGE]}}))),
    _case("negative_filters.keras", "residual", "has a negative size", _spoilt(filters=-2)),
    _case("wrong_types.keras", "residual", "has a dict for a number",
          _spoilt(filters={"class_name": "__numpy__"}, strides="11")),
    _harmless("name_parent.keras", "CVE-2026-12479", "makes a path of a layer's name",
          _spoilt(name="../../touched")),
    _harmless("name_nul.keras", "residual", "makes a path of a layer's name",
          _spoilt(name="conv\x002d")),
    _harmless("name_empty.keras", "residual", "has a layer without a name", _spoilt(name="")),
    _harmless("name_dot.keras", "residual", "has a name that is no module's", _spoilt(name="a.b")),
    _harmless("name_taken.keras", "residual", "has a name that is an attribute of a module",
          _with(layer("ReLU", name="forward"), layer("ReLU", name="__class__"))),
    _harmless("name_long.keras", "residual", "fills messages and memory",
          _spoilt(name="n" * 2**20)),
    _case("name_twice.keras", "residual", "has two layers of one name",
          _with(layer("ReLU", name="conv2d"))),
    _case("nested.keras", "residual", "exhausts the stack with models in models",
          lambda p: archive(p, _nested(400))),
    _case("doubled.keras", "residual", "takes for ever, with models that call models twice",
          lambda p: archive(p, _doubled(30))),
    _case("cycle.keras", "residual", "never finds the end of the graph",
          _graph(called(conv(), tensor("relu")),
                 called(layer("ReLU", name="relu"), tensor("conv2d")))),
    _case("own_input.keras", "residual", "is its own input",
          _graph(called(conv(), tensor("conv2d")))),
    _case("missing_node.keras", "residual", "names a call that is not there",
          _graph(called(conv(), tensor()),
                 called(layer("ReLU", name="relu"), tensor("conv2d", 7)), last="relu")),
    _case("negative_node.keras", "residual", "counts calls from the end",
          _graph(called(conv(), tensor()),
                 called(layer("ReLU", name="relu"), tensor("conv2d", -1)), last="relu")),
    _case("missing_layer.keras", "residual", "names a layer that is not there",
          _graph(called(conv(), tensor("nowhere")))),
    _case("kwargs.keras", "residual", "passes any argument to a call",
          _graph(called(conv(), tensor(), __class__="x", out="y"))),
    _harmless("many_layers.keras", "residual", "has a thousand layers",
          lambda p: archive(p, sequential(
              *[layer("ReLU", name=f"r{n}") for n in range(1000)], conv()))),
    # What JSON itself allows
    _case("json_deep.keras", "residual", "exhausts the stack", _text("[" * 200_000)),
    _case("json_deep_dict.keras", "residual", "exhausts the stack",
          _after('"x": ' + '{"x":' * 50_000 + "1" + "}" * 50_000)),
    _case("json_digits.keras", "residual", "spends time on a number",
          _after('"x": ' + "9" * 100_000)),
    _case("json_twice.keras", "residual", "says two things under one key",
          _after('"class_name": "Functional"')),
    _harmless("json_surrogate.keras", "residual", "has a name that no text can hold",
          _spoilt(name="\ud800")),
    _case("json_list.keras", "residual", "is no config", _text("[[1, 2], 3]")),
    _case("json_null.keras", "residual", "is no config", _text("null")),
    _case("json_bytes.keras", "residual", "is no text", _text(b"\xff\xfe\x00{")),
    _case("json_bom.keras", "residual", "is cut off", _text('{"class_name": "Sequ')),
    _case("yaml.keras", "CVE-2021-37678", "runs what YAML constructs",
          _text("!!python/object/apply:os.mkdir [touched]\n")),
    _case("config_number.h5", "residual", "has a number for a config", _legacy_text(7)),
    _case("config_bytes.h5", "residual", "has bytes for a config", _legacy_text(b"\xff\xfe{")),
    _case("config_empty.h5", "residual", "has nothing for a config",
          _legacy_text(h5py.Empty("f4"))),
    _case("config_deep.h5", "residual", "exhausts the stack", _legacy_text("[" * 60_000)),
    _case("input_only.keras", "residual", "has weights for no layer",
          lambda p: archive(p, layer("Sequential", "keras", name="s", layers=[input_layer()]))),
)  # fmt: skip
