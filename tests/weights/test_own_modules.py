"""Which array goes where in a module of the caller's own, and what is refused."""

import numpy as np
import pytest
import torch
from torch import nn

import kerastorch as keras
from kerastorch.saving import FileError
from tests.formats.keras_files import model_archive, model_h5
from tests.models.configs import dense, input_layer, layer, sequential

DENSE = {"kernel": np.eye(4, 3, dtype="f4"), "bias": np.array([1, 2, 3], "f4")}


def array(*shape, start=0):
    return np.arange(start, start + np.prod(shape), dtype="f4").reshape(shape)


def config(class_name="mine>Mine"):
    entry = layer(class_name, "own", trainable=True, dtype="float32")
    return sequential(input_layer("x"), entry, dense("d"))


def saved_h5(folder, arrays):
    return model_h5(folder / "m.h5", config(), {"own": arrays, "d": DENSE})


def saved_keras(folder, arrays):
    tree = {f"layers/mine/{path}": value for path, value in arrays.items()}
    known = {f"layers/dense/vars/{n}": value for n, value in enumerate(DENSE.values())}
    return model_archive(folder / "m.keras", config(), {**tree, **known})


class Own(nn.Module):
    """Parameters, buffers and layers by name; the outputs do not matter."""

    def __init__(self, buffers=(), **parts):
        super().__init__()
        for name, part in parts.items():
            if isinstance(part, nn.Module):
                setattr(self, name, part)
            elif name in buffers:
                self.register_buffer(name, torch.zeros(part))
            else:
                setattr(self, name, nn.Parameter(torch.zeros(part)))

    def forward(self, x):
        return x


def load(file, module):
    return keras.load_model(file, custom_layers={"Mine": lambda config: module}).own


def assert_stored(tensor, expected):
    np.testing.assert_array_equal(tensor.detach().numpy(), expected)


def test_names_decide_where_shapes_are_equal(tmp_path):
    arrays = {"gamma": array(4), "beta": array(4, start=4)}
    own = load(saved_h5(tmp_path, arrays), Own(beta=4, gamma=4))
    assert_stored(own.gamma, arrays["gamma"])
    assert_stored(own.beta, arrays["beta"])


def test_names_decide_for_square_matrices_and_buffers(tmp_path):
    arrays = {"kernel": array(4, 4), "moving_mean": array(4), "moving_variance": array(4, start=4)}
    module = Own(
        ("moving_mean", "moving_variance"), kernel=(4, 4), moving_variance=4, moving_mean=4
    )
    own = load(saved_h5(tmp_path, arrays), module)
    for name, value in arrays.items():
        assert_stored(getattr(own, name), value)


def test_shapes_decide_where_they_fit_in_one_way(tmp_path):
    arrays = {"vars/0": array(4, 3), "vars/1": array(3), "vars/2": array(2)}
    own = load(saved_keras(tmp_path, arrays), Own(("c",), a=3, b=(4, 3), c=2))
    assert_stored(own.b, arrays["vars/0"])
    assert_stored(own.a, arrays["vars/1"])
    assert_stored(own.c, arrays["vars/2"])


def test_the_layers_inside_are_told_by_names_then_by_shapes(tmp_path):
    arrays = {
        "conv2d_7/kernel": array(1, 1, 2, 2),
        "conv2d_7/bias": array(2),
        "conv2d_8/kernel": array(3, 3, 2, 2),
        "conv2d_8/bias": array(2, start=2),
    }
    module = Own(large=nn.Conv2d(2, 2, 3), small=keras.Conv2D(2, 1))
    own = load(saved_h5(tmp_path, arrays), module)
    assert_stored(own.large.bias, arrays["conv2d_8/bias"])
    assert_stored(own.small.kernel, arrays["conv2d_7/kernel"])

    equal = {**arrays, "conv2d_7/kernel": array(3, 3, 2, 2, start=9)}
    named = {path.replace("conv2d_7", "small").replace("8", "9"): v for path, v in equal.items()}
    module = Own(conv2d_9=nn.Conv2d(2, 2, 3), small=nn.Conv2d(2, 2, 3))
    own = load(saved_h5(tmp_path, named), module)
    assert_stored(own.small.bias, arrays["conv2d_7/bias"])
    with pytest.raises(FileError, match=r"conv2d_7/kernel, .* fit in more than one way"):
        load(saved_h5(tmp_path, equal), Own(a=nn.Conv2d(2, 2, 3), b=nn.Conv2d(2, 2, 3)))


@pytest.mark.parametrize("group", ["norm", "another_name"])
def test_a_layer_inside_has_its_arrays_in_the_order_of_its_class(tmp_path, group):
    arrays = {f"{group}/vars/{n}": array(4, start=4 * n) for n in range(4)}
    own = load(saved_keras(tmp_path, arrays), Own(norm=nn.BatchNorm1d(4)))
    assert_stored(own.norm.weight, arrays[f"{group}/vars/0"])
    assert_stored(own.norm.running_var, arrays[f"{group}/vars/3"])


@pytest.mark.parametrize("part", [nn.LayerNorm(4), nn.GroupNorm(2, 4), nn.Linear(4, 3)])
def test_all_kinds_of_layers_may_be_inside(tmp_path, part):
    shape = tuple(part.weight.shape)[::-1]
    arrays = {"vars/0": array(1), "part/vars/0": array(*shape)}
    arrays["part/vars/1"] = array(*part.bias.shape, start=9)
    own = load(saved_keras(tmp_path, arrays), Own(part=part, scale=1))
    assert_stored(own.part.weight, np.transpose(arrays["part/vars/0"]))
    assert_stored(own.part.bias, arrays["part/vars/1"])


def test_names_that_some_have_leave_the_rest_to_shapes(tmp_path):
    arrays = {"gamma": array(4), "beta": array(4, start=4), "other": array(2)}
    own = load(saved_h5(tmp_path, arrays), Own(beta=4, gamma=4, third=2))
    assert_stored(own.gamma, arrays["gamma"])
    assert_stored(own.third, arrays["other"])
    twins = {f"{n}/{k}": v for n in ("a", "b") for k, v in DENSE.items()} | {"x/w": array(2)}
    module = Own(b=nn.Linear(4, 3), a=nn.Linear(4, 3), only=nn.Linear(1, 2, bias=False))
    twins["x/w"], twins["b/bias"] = array(1, 2), array(3, start=7)
    own = load(saved_h5(tmp_path, twins), module)
    assert_stored(own.b.bias, twins["b/bias"])
    assert_stored(own.only.weight, twins["x/w"].T)


def test_an_array_with_the_name_of_a_buffer_goes_there(tmp_path):
    module = Own(("mean",), mean=4)
    assert_stored(load(saved_h5(tmp_path, {"mean": array(4)}), module).mean, array(4))
    with pytest.raises(FileError, match=r"nothing is left for scale"):
        load(saved_h5(tmp_path, {"mean": array(4)}), Own(("mean",), scale=4, mean=4))


def test_a_parameter_of_a_subclass_counts_too(tmp_path):
    class Scaled(nn.Linear):
        def __init__(self):
            super().__init__(4, 3)
            self.scale = nn.Parameter(torch.ones(1))

    arrays = {"vars/0": array(4, 3), "vars/1": array(3), "vars/2": array(1, start=5)}
    own = load(saved_keras(tmp_path, arrays), Scaled())
    assert_stored(own.weight, arrays["vars/0"].T)
    assert_stored(own.scale, arrays["vars/2"])


WAYS = ("the names of its parameters", "shapes if these fit in one way", "load_keras_weights")


@pytest.mark.parametrize(
    ("arrays", "module", "said"),
    [
        (
            {"vars/0": array(4), "vars/1": array(4)},
            Own(gamma=4, beta=4),
            (
                "own (Own) has gamma (4,), beta (4,). Found: 0 (4,), 1 (4,) at layers/mine "
                "(own): 0, 1 fit in more than one way."
            ),
        ),
        ({"vars/0": array(4)}, Own(("mean",), scale=4, mean=4), "0 fit in more than one way"),
        (
            {f"vars/{n}": array(4) for n in range(4)},
            Own(norm=nn.BatchNorm1d(4)),
            "0, 1, 2, 3 fit in more than one way",
        ),
        ({"vars/0": array(4, 4)}, Own(weight=(4, 4)), "0 fit in more than one way"),
        ({"vars/0": array(3, 3, 3, 3)}, Own(weight=(3, 3, 3, 3)), "0 fit in more than one way"),
        ({"vars/0": array(4, 3)}, Own(weight=(3, 4)), "the shapes differ"),
        ({"vars/0": array(4, 3)}, Own(conv=nn.Conv2d(2, 2, 3, bias=False)), "the shapes differ"),
        ({"vars/0": array(4, 3)}, Own(a=(4, 3), b=3), "nothing is left for b"),
        ({"vars/0": array(4, 3)}, Own(), "there are 1 arrays for 0 parameters and buffers"),
    ],
)
def test_what_is_in_doubt_is_refused_with_the_three_ways(tmp_path, arrays, module, said):
    with pytest.raises(FileError) as caught:
        load(saved_keras(tmp_path, arrays), module)
    message = str(caught.value)
    assert all(part in message for part in (said, *WAYS))
    assert "mapping" not in message
    assert "damaged" not in message


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (nn.LazyLinear(3), "LazyLinear: `module` must be initialized."),
        (nn.ConvTranspose2d(4, 4, 3, groups=2), "ConvTranspose2d: `groups` must be 1."),
        (keras.layers.Dense(3, activation=nn.PReLU()), "Dense: `activation` must be a layer of"),
    ],
)
def test_what_cannot_be_filled_inside_is_refused(tmp_path, part, said):
    with pytest.raises(FileError) as caught:
        load(saved_keras(tmp_path, {"inner/vars/0": array(4, 3)}), Own(inner=part))
    assert f"own: {said}" in str(caught.value)


def test_an_activation_with_weights_inside_takes_its_own(tmp_path):
    part = keras.layers.Dense(3, activation=keras.layers.PReLU())
    arrays = {"vars/0": array(4, 3), "vars/1": array(3), "vars/2": array(3, start=9)}
    inner = {f"inner/{path}": value for path, value in arrays.items()}
    own = load(saved_keras(tmp_path, inner), Own(inner=part))
    assert_stored(own.inner.activation.alpha, arrays["vars/2"])


def test_a_list_counts_buffers_where_only_then_all_arrays_are_taken(tmp_path):
    file = saved_h5(tmp_path, {"mean": array(4), "count": array(2)})
    module = Own(("mean",), mean=4, count=2)
    model = keras.load_model(file, custom_layers={"Mine": lambda config: module})
    keras.load_weights(model, [array(4, start=5), array(2, start=6), *DENSE.values()])
    assert_stored(module.mean, array(4, start=5))
    assert_stored(module.count, array(2, start=6))


def test_a_module_serves_one_layer(tmp_path):
    entries = (layer("mine>Mine", name, trainable=True, dtype="float32") for name in "ab")
    config = sequential(input_layer("x"), *entries)
    file = model_h5(tmp_path / "m.h5", config, {"a": {"w": array(4)}, "b": {"w": array(4)}})
    one = Own(w=4)
    with pytest.raises(TypeError, match=r"a function that returns a torch.nn.Module of its own"):
        keras.load_model(file, custom_layers={"Mine": lambda config: one})


@pytest.mark.parametrize("make", [lambda: Own(w=4), lambda: keras.layers.Dense(4, use_bias=False)])
def test_a_frozen_layer_is_frozen(tmp_path, make):
    entry = layer("mine>Mine", "a", trainable=False, dtype="float32")
    shape = (4,) if isinstance(make(), Own) else (4, 4)
    config = sequential(input_layer("x"), entry)
    file = model_h5(tmp_path / "m.h5", config, {"a": {"w": array(*shape)}})
    model = keras.load_model(file, custom_layers={"Mine": lambda config: make()})
    assert [parameter.requires_grad for parameter in model.parameters()] == [False]


@pytest.mark.parametrize("module", [nn.LayerNorm(4, eps=1e-6), nn.BatchNorm1d(4, eps=1e-6)])
def test_a_class_of_ones_own_has_no_epsilon_of_keras(tmp_path, module):
    arrays = {"gamma": array(4), "beta": array(4, start=4)}
    if isinstance(module, nn.BatchNorm1d):
        arrays |= {"moving_mean": array(4), "moving_variance": array(4)}
    assert_stored(load(saved_h5(tmp_path, arrays), module).bias, arrays["beta"])


@pytest.mark.parametrize("make", [lambda: nn.BatchNorm1d(4), keras.layers.BatchNormalization])
def test_an_order_that_no_name_confirms_is_warned_of(tmp_path, make):
    arrays = {f"vars/{n}": array(4, start=4 * n) for n in range(4)}
    said = (
        "own received the arrays of a mine>Mine as gamma, beta, moving_mean, moving_variance: the"
    )
    with pytest.warns(UserWarning, match=said):
        own = load(saved_keras(tmp_path, arrays), make())
    assert_stored(own.weight, arrays["vars/0"])


# The method


class Method(Own):
    def __init__(self, **parts):
        super().__init__(**parts)
        self.got = {}

    def load_keras_weights(self, weights):
        self.got = weights
        for tensor in self.parameters():
            tensor.fill_(7)
        if "fail" in weights:
            raise KeyError("no such weight")


def test_a_method_gets_all_arrays_by_their_paths_below_the_layer(tmp_path):
    arrays = {"vars/0": array(4), "vars/1": array(4), "inner/vars/0": array(2, 2)}
    own = load(saved_keras(tmp_path, arrays), Method(weight=4))
    assert list(own.got) == ["0", "1", "inner/0"]
    np.testing.assert_array_equal(own.got["inner/0"], arrays["inner/vars/0"])
    assert isinstance(own.got["0"], np.ndarray)
    assert_stored(own.weight, np.full(4, 7))
    own = load(saved_h5(tmp_path, {"gamma": array(4), "inner/gamma": array(2)}), Method())
    assert list(own.got) == ["gamma", "inner/gamma"]


def test_a_method_that_fails_changes_nothing(tmp_path):
    good = saved_h5(tmp_path, {"gamma": array(4)})
    model = keras.load_model(good, custom_layers={"Mine": lambda config: Method(weight=4)})
    with torch.no_grad():
        model.own.weight.fill_(1)
        model.d.weight.fill_(1)
    bad = saved_h5(tmp_path, {"fail": array(4)})
    with pytest.raises(FileError) as caught:
        keras.load_weights(model, bad)
    said = "own (Method): `load_keras_weights` raised KeyError: 'no such weight'. It got fail (4,)."
    assert str(caught.value) == f"{bad}: {said}"
    assert_stored(model.own.weight, np.ones(4))
    assert_stored(model.d.weight, np.ones((3, 4)))


def test_the_report_lists_what_a_method_got(tmp_path):
    file = saved_h5(tmp_path, {"gamma": array(4)})
    model = keras.load_model(file, custom_layers={"Mine": lambda config: Method(weight=4)})
    report = keras.load_weights(model, file)
    assert [entry.target for entry in report.loaded] == ["d.weight", "d.bias", "own"]
    assert report.loaded[-1].source == "own/own/gamma:0"


def test_a_module_with_the_method_may_be_in_a_model_of_ones_own(tmp_path):
    model = nn.Module()
    model.own, model.d = Method(weight=4), nn.Linear(4, 3)
    keras.load_weights(model, saved_h5(tmp_path, {"gamma": array(4), "inner/gamma": array(2)}))
    assert list(model.own.got) == ["gamma", "inner/gamma"]
    assert_stored(model.d.bias, DENSE["bias"])
    listed = [array(4), array(2), *DENSE.values()]
    model.own.got = {}
    keras.load_weights(model, listed)
    assert list(model.own.got) == ["0", "1"]
    assert_stored(model.d.bias, DENSE["bias"])


def test_a_mapping_may_name_what_is_inside(tmp_path):
    arrays = {f"{name}/{part}": value for name in "ab" for part, value in DENSE.items()}
    arrays["b/bias"] = array(3, start=9)
    file = saved_h5(tmp_path, arrays)
    model = keras.load_model(
        file, custom_layers={"Mine": lambda config: Own(a=nn.Linear(4, 3), b=nn.Linear(4, 3))}
    )
    assert_stored(model.own.b.bias, arrays["b/bias"])
    mapping = {"own.b": None, "own.a.bias": "own/own/b/bias:0"}
    report = keras.load_weights(model, file, mapping=mapping, strict=False)
    assert_stored(model.own.a.bias, arrays["b/bias"])
    assert "own.b.bias" not in {entry.target for entry in report.loaded}
    keras.load_weights(model, file, mapping={"own": None}, strict=False)


def test_weights_that_no_keras_layer_takes_are_not_written(tmp_path):
    file = saved_h5(tmp_path, {"gamma": array(4)})
    for module in (Method(weight=4), Own(gamma=4)):
        model = keras.load_model(file, custom_layers={"Mine": lambda config, m=module: m})
        with pytest.raises(ValueError, match="own: Keras has no layer with the weights of"):
            keras.save_weights(model, tmp_path / "m.weights.h5")
