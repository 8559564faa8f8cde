"""The names that users see, and Keras's documented examples under `import kerastorch as keras`."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

import kerastorch as keras

NAMES = {
    "kerastorch": """
        Conv2D DTypePolicy activations apply_constraints attach_constraints compare config
        constraints initializers layers load_model load_weights regularization_loss regularizers
        save_weights saving to_source to_torch
    """,
    "kerastorch.layers": " ".join(keras.layers.__all__),  # see tests/layers/declarations/
    "kerastorch.saving": """
        FileError LoadEntry LoadReport load_model load_weights save_weights
    """,
    "kerastorch.activations": """
        celu elu exponential gelu glu hard_shrink hard_sigmoid hard_sigmoid_keras2
        hard_silu hard_swish hard_tanh leaky_relu linear log_sigmoid log_softmax mish relu relu6
        selu sigmoid silu soft_shrink softmax softplus softsign sparse_plus sparse_sigmoid
        sparsemax squareplus swish tanh tanh_shrink threshold
        get serialize deserialize
    """,
    "kerastorch.initializers": """
        Initializer
        Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity IdentityInitializer
        LecunNormal LecunUniform Ones Orthogonal OrthogonalInitializer RandomNormal RandomUniform
        STFT STFTInitializer TruncatedNormal VarianceScaling Zeros
        constant glorot_normal glorot_uniform he_normal he_uniform identity lecun_normal
        lecun_uniform ones orthogonal random_normal random_uniform stft truncated_normal
        variance_scaling zeros
        get serialize deserialize
        SeedGenerator compute_fans
    """,
    "kerastorch.regularizers": """
        Regularizer
        L1 L1L2 L2 OrthogonalRegularizer
        l1 l1_l2 l2 orthogonal_regularizer
        get serialize deserialize
    """,
    "kerastorch.constraints": """
        Constraint
        MaxNorm MinMaxNorm NonNeg UnitNorm
        max_norm min_max_norm non_neg unit_norm
        get serialize deserialize
    """,
    "kerastorch.config": """
        epsilon floatx image_data_format set_epsilon set_floatx set_image_data_format
    """,
}


def public_names(source: str) -> set[str]:
    """Return what a module defines, or re-exports with `as`, under a name without underscore."""
    found, body = set(), ast.parse(source).body
    for node in [*body, *(inner for one in body if isinstance(one, ast.If) for inner in one.body)]:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.asname for alias in node.names if alias.asname}
    return {name for name in found if not name.startswith("_")}


def undocumented(obj: object, name: str) -> list[str]:
    """Return the names of `obj` and its own public methods that have no docstring."""
    wanting = [] if (getattr(obj, "__doc__", None) or "").strip() else [name]
    for cls in obj.__mro__ if inspect.isclass(obj) else ():
        if cls.__module__.startswith(keras.__name__) or cls is obj:
            for member, value in vars(cls).items():
                public = not member.startswith("_") or member == "__call__"
                inner = getattr(value, "__func__", value)
                if public and (inspect.isfunction(inner) or isinstance(inner, property)):
                    wanting += [] if inner.__doc__ else [f"{name}.{member}"]
    return wanting


@pytest.mark.parametrize("module", [name for name in NAMES if name != "kerastorch.layers"])
def test_the_public_names_are_these(module):
    source = Path(import_module(module).__file__).read_text(encoding="utf-8")
    starred = re.findall(r"^from (\.\w+) import \*$", source, re.MULTILINE)
    exported = {name for inner in starred for name in import_module(inner, module).__all__}
    assert public_names(source) | exported == set(NAMES[module].split())


@pytest.mark.parametrize("module", NAMES)
def test_every_public_callable_says_what_it_is(module):
    loaded = import_module(module)
    found = {name: getattr(loaded, name) for name in NAMES[module].split()}
    documented = {n: f for n, f in found.items() if inspect.isclass(f) or inspect.isfunction(f)}
    assert documented
    assert not [gap for name, obj in documented.items() for gap in undocumented(obj, name)]


def test_the_checks_of_names_and_docstrings_tell():
    source = "from .a import b\nfrom .a import c as c\nd = e = 1\nf: int = 1\n_g = 2\ndef h(): pass"
    assert public_names(source) == {"c", "d", "e", "f", "h"}

    class Silent:
        def method(self): ...

        def _hidden(self): ...

        @classmethod
        def maker(cls): ...

        @property
        def value(self): ...

    assert undocumented(Silent, "S") == ["S", "S.method", "S.maker", "S.value"]


AFTER_IMPORT = """
import sys, torch
before = set(sys.modules)
import kerastorch
print(*sorted(set(sys.modules) - before))
assert kerastorch.load_model is kerastorch.saving.load_model
assert "kerastorch._comparison" not in sys.modules
from kerastorch import compare
assert "kerastorch._comparison" in sys.modules
"""


def test_importing_takes_in_what_is_needed_only():
    command = [sys.executable, "-W", "error", "-c", AFTER_IMPORT]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    names = done.stdout.split()
    assert "kerastorch.layers.convolution.conv" in names and len(names) < 160
    wrong = ("kerastorch.saving", "kerastorch._comparison", "torch._dynamo", "torch._inductor")
    others = ("torch.onnx", "h5py", "keras.", "safetensors", "scipy", "tqdm", "tensorflow")
    assert [name for name in names if name.startswith((*wrong, *others))] == []


def test_names_imported_later_are_listed_and_others_refused():
    assert set(NAMES["kerastorch"].split()) <= set(dir(keras))
    with pytest.raises(AttributeError, match="module 'kerastorch' has no attribute 'load_modle'"):
        keras.load_modle  # noqa: B018


# Keras's documented examples


def test_example_of_conv2d():
    x = np.random.default_rng(0).random((4, 10, 10, 128))
    y = keras.layers.Conv2D(32, 3, activation="relu")(x)
    assert y.shape == (4, 8, 8, 32)
    assert y.dtype == torch.float32
    assert y.min() >= 0


def test_example_of_initializers():
    values = keras.initializers.RandomNormal(mean=0.0, stddev=1.0)(shape=(2, 3))
    assert values.shape == (2, 3)
    initializer = keras.initializers.Constant(10.0)
    layer = keras.layers.Conv2D(3, (2, 1), kernel_initializer=initializer, input_shape=(4, 5, 2))
    assert (layer.kernel == 10).all()
    keras.layers.Conv2D(3, 2, kernel_initializer="random_normal", bias_initializer="zeros")


def test_example_of_an_own_initializer():
    class ExampleRandomNormal(keras.initializers.Initializer):
        def __init__(self, mean, stddev):
            self.mean = mean
            self.stddev = stddev

        def __call__(self, shape, dtype=None, **kwargs):
            return self.mean + self.stddev * torch.randn(shape)

        def get_config(self):
            return {"mean": self.mean, "stddev": self.stddev}

    initializer = ExampleRandomNormal(7.0, 0.0)
    layer = keras.layers.Conv2D(3, (2, 1), kernel_initializer=initializer, input_shape=(4, 5, 2))
    assert (layer.kernel == 7).all()
    assert ExampleRandomNormal.from_config(initializer.get_config()).mean == 7.0


class L2Regularizer(keras.regularizers.Regularizer):
    def __init__(self, l2=0.0):
        self.l2 = l2

    def __call__(self, x):
        return self.l2 * torch.sum(torch.square(x))

    def get_config(self):
        return {"l2": float(self.l2)}


def l1_reg(weight_matrix):
    return 0.01 * torch.sum(torch.abs(weight_matrix))


@pytest.mark.parametrize(
    "arguments, total",
    [
        (
            {
                "kernel_regularizer": keras.regularizers.L1(0.01),
                "activity_regularizer": keras.regularizers.L2(0.01),
            },
            5.25,
        ),
        ({"kernel_regularizer": l1_reg}, 0.25),
        ({"kernel_regularizer": L2Regularizer(l2=0.5)}, 12.5),
    ],
    ids=["both", "function", "class"],
)
def test_example_of_regularizers(arguments, total):
    layer = keras.layers.Conv2D(5, 1, kernel_initializer="ones", **arguments)
    layer(torch.ones(5, 1, 1, 5) * 2.0)
    assert sum(layer.losses).item() == pytest.approx(total)
    assert keras.regularization_loss(layer).item() == pytest.approx(total)


def test_example_of_constraints():
    class NonNegative(keras.constraints.Constraint):
        def __call__(self, w):
            return w * torch.greater_equal(w, 0.0).to(w.dtype)

    assert NonNegative()(torch.tensor((-1.0, 1.0))).tolist() == [0.0, 1.0]
    layer = keras.layers.Conv2D(4, 3, kernel_constraint=NonNegative(), input_shape=(5, 6, 2))
    assert (layer.kernel < 0).any()
    keras.apply_constraints(layer)
    assert (layer.kernel >= 0).all()
