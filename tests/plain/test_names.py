"""Text from a file in the written code: hostile names change nothing but identifiers."""

from __future__ import annotations

import ast
import re

import pytest

from kerastorch.plain.api import to_source
from kerastorch.plain.text.names import clean_text, format_literal, make_class_name, make_identifier
from tests.models.configs import functional, input_layer, layer, node, tensor
from tests.plain.models import build

HOSTILE = (
    'x"""\nprint("run")\n"""',
    "'''\nraise SystemExit\n'''",
    "a'b\"c\\",
    "back\\",
    "line\nbreak",
    "form\x0cfeed",
    "carriage\rreturn",
    "null\u0000char",
    "\u202eevil\u2066",
    "\u2028separator\u2029",
    "\uff43\uff4c\uff41\uff53\uff53",  # full width: NFKC makes "class" of it
    "__import__('os').system('true')",
    "class",
    "lambda",
    "None",
    "match",
    "self",
    "torch",
    "nn",
    "F",
    "x",
    "forward",
    "training",
    "_parameters",
    "__class__",
    "T_destination",
    "# comment",
    "{0}{x!r}%s",
    "",
    " ",
    "1st",
    "-",
    "\u00e9t\u00e9",
    "a" * 10_000,
    "\U0001f600",
)
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def make_config(name: str):
    """Return a model in which a name stands wherever a file may have one."""
    key = name.replace("/", "_")
    first = layer(
        "Dense",
        key,
        [node(tensor("given" if key != "given" else "given2"))],
        units=3,
        activation="relu",
        kernel_regularizer={
            "module": "keras.regularizers",
            "class_name": "L2",
            "config": {"l2": 0.25},
            "registered_name": None,
        },
    )
    last = layer("Dense", f"{key}.", [node(tensor(key))], units=2)
    return functional(
        input_layer("given" if key != "given" else "given2"),
        first,
        last,
        inputs=["given" if key != "given" else "given2", 0, 0],
        outputs={key: [f"{key}.", 0, 0]},
        name=name,
    )


def canonical(text: str) -> str:
    """Return the syntax tree without docstrings, with identifiers and dict keys numbered."""
    tree = ast.parse(text)
    numbers: dict[str, str] = {}
    known = {"nn", "F", "torch", "self", "super", "Module", "Linear", "relu", "forward", "__init__"}
    for one in ast.walk(tree):
        if isinstance(one, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(one):
            one.body = one.body[1:]
        if isinstance(one, ast.Dict):
            one.keys = [ast.Constant("key") for _ in one.keys]
        for field in ("id", "attr", "arg", "name"):
            found = getattr(one, field, None)
            if isinstance(found, str):
                assert _PLAIN_NAME.fullmatch(found) or isinstance(one, ast.alias)
                if found not in known and not isinstance(one, ast.alias):
                    key = f"{field} {found}"  # a class and a layer may share a name
                    setattr(one, field, numbers.setdefault(key, f"name{len(numbers)}"))
    return ast.dump(tree)


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_name_is_an_identifier_or_a_literal_and_nothing_else(name: str) -> None:
    source = to_source(build(make_config(name)), weights_file=f"{name[:50]}.safetensors")
    assert source.text.isascii()
    assert not set(source.text) & {"\t", "\r", "\x0c", "\x00", "\x0b"}
    benign = "benign" if len(name) < 60 else "b" * len(name)
    assert canonical(source.text) == canonical(to_source(build(make_config(benign))).text)
    assert max(map(len, source.text.splitlines())) <= 100 or len(name) > 60


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_names_stand_alone(name: str) -> None:
    for found in (make_identifier(name, ()), make_class_name(name, ())):
        assert _PLAIN_NAME.fullmatch(found) and len(found) <= 45
        compile(f"{found} = 1", "", "exec")
    shown = clean_text(name)
    assert ast.literal_eval(f'"""{shown}."""') == f"{shown}."
    assert ast.literal_eval(format_literal(name)) == name
    assert format_literal(name).isascii()


@pytest.mark.parametrize(
    "value",
    [0.1, 1e-300, float("1.001e-5"), -0.0, 0.20000000298023224, 10**30, True, None, (1,), [], {}],
)
def test_literals_keep_every_digit(value: object) -> None:
    assert ast.literal_eval(format_literal(value)) == value
    assert repr(ast.literal_eval(format_literal(value))) == repr(value)


def test_infinite_numbers_are_names_of_math() -> None:
    assert format_literal(float("-inf")) == "-math.inf"
    assert format_literal(float("nan")) == "math.nan"


@pytest.mark.parametrize("value", [object(), b"x", 1j, {1}, range(2)])
def test_other_objects_are_no_literals(value: object) -> None:
    with pytest.raises(TypeError, match="no literal"):
        format_literal(value)


def test_two_names_that_become_one_identifier_are_numbered() -> None:
    first = make_identifier("a.b", set())
    assert first == "a_b"
    assert make_identifier("a/b", {first}) == "a_b2"
