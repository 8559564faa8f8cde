"""Loading what fits: new heads, layers left out, misspelled names, and orders in doubt."""

import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

import kerastorch as keras
from kerastorch.saving import FileError
from tests.formats.keras_files import model_archive, model_h5
from tests.models.configs import dense, input_layer, layer, sequential


def array(*shape, start=1):
    return np.arange(start, start + np.prod(shape), dtype="f4").reshape(shape)


def conv(name, filters, size=3, **config):
    return layer("Conv2D", name, filters=filters, kernel_size=size, padding="same", **config)


CONFIG = sequential(
    input_layer("x", (None, 4, 4, 2)),
    conv("conv1", 3),
    layer("Flatten", "flat"),
    dense("head", units=10),
)
ARRAYS = {
    "conv1": {"kernel": array(3, 3, 2, 3), "bias": array(3)},
    "head": {"kernel": array(48, 10), "bias": array(10)},
}
TREE = {
    "layers/conv2d/vars/0": ARRAYS["conv1"]["kernel"],
    "layers/conv2d/vars/1": ARRAYS["conv1"]["bias"],
    "layers/dense/vars/0": ARRAYS["head"]["kernel"],
    "layers/dense/vars/1": ARRAYS["head"]["bias"],
}


@pytest.fixture(params=["h5", "keras", "list", "dict"])
def source(request, tmp_path):
    if request.param == "h5":
        return model_h5(tmp_path / "m.h5", CONFIG, ARRAYS)
    if request.param == "keras":
        return model_archive(tmp_path / "m.keras", CONFIG, TREE)
    if request.param == "list":
        return [value for arrays in ARRAYS.values() for value in arrays.values()]
    return {
        f"{name}/{key}": value for name, arrays in ARRAYS.items() for key, value in arrays.items()
    }


class Net(nn.Module):
    def __init__(self, head):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 3, 3, padding="same")
        self.head = head


def with_new_head(kind, tmp_path):
    if kind == "own":
        return Net(nn.Linear(48, 3))
    file = model_archive(tmp_path / "first.keras", CONFIG, TREE)
    model = keras.load_model(file)
    model.head = nn.Linear(48, 3) if kind == "torch" else keras.layers.Dense(3)
    with torch.no_grad():
        model.conv1.weight.zero_()
    return model


@pytest.mark.parametrize("kind", ["own", "torch", "unbuilt"])
def test_a_new_head_is_left_as_it_is(source, kind, tmp_path):
    model = with_new_head(kind, tmp_path)
    before = {name: p.clone() for name, p in model.head.named_parameters() if kind != "unbuilt"}
    with pytest.warns(UserWarning, match="head") as caught:
        report = keras.load_weights(model, source, strict=False)
    found = model.conv1.weight.detach().permute(2, 3, 1, 0)
    np.testing.assert_array_equal(found, ARRAYS["conv1"]["kernel"])
    for name, value in before.items():
        assert torch.equal(model.head.get_parameter(name), value)
    said = str(caught[0].message)
    assert "head is left as it is: head" in said
    assert "(48, 10)" in said
    if kind != "unbuilt":
        assert "head.weight has the shape (48, 3) in Keras's order. Found: (48, 10) at" in said
    assert [entry.target for entry in report.missing] == ["head.weight", "head.bias"]
    assert [entry.shape for entry in report.unused] == [(48, 10), (10,)]
    assert {entry.target for entry in report.loaded} == {"conv1.weight", "conv1.bias"}


def test_without_strict_false_it_is_an_error_whose_advice_works(source, tmp_path):
    model = with_new_head("torch", tmp_path)
    with pytest.raises(FileError) as caught:
        keras.load_weights(model, source)
    assert "or None to leave it out}`, or load what fits with `strict=False`." in str(caught.value)
    assert not model.conv1.weight.any()
    report = keras.load_weights(model, source, mapping={"head": None})
    assert model.conv1.weight.any()
    assert [entry.shape for entry in report.unused] == [(48, 10), (10,)]
    assert not report.missing


def test_where_nothing_fits_no_advice_is_repeated(tmp_path):
    file = model_h5(tmp_path / "m.h5", CONFIG, ARRAYS)
    with pytest.raises(FileError) as caught:
        keras.load_weights(nn.Sequential(nn.Linear(7, 5)), file, strict=False)
    assert "strict=False" not in str(caught.value)
    assert "mapping=" in str(caught.value)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ({"haed": None}, "mapping['haed']: a key must be the path of a module or a parameter"),
        ({"haed": None}, "Did you mean 'head'?"),
        ({"conv1": "covn1"}, "mapping['conv1'] must name a saved layer. Received: 'covn1'."),
        ({"conv1": "covn1"}, "Did you mean 'conv1'?"),
        ({"conv1.bias": "conv1/conv1/bais:0"}, "Did you mean 'conv1/conv1/bias:0'?"),
    ],
)  # fmt: skip
def test_a_misspelled_mapping_names_the_nearest(tmp_path, mapping, said, strict):
    file = model_h5(tmp_path / "m.h5", CONFIG, ARRAYS)
    with pytest.raises(FileError) as caught:
        keras.load_weights(Net(nn.Linear(48, 3)), file, mapping=mapping, strict=strict)
    assert said in str(caught.value)


@pytest.mark.parametrize("strict", [True, False])
def test_a_misspelled_module_names_the_nearest(tmp_path, strict):
    file = model_h5(tmp_path / "m.h5", CONFIG, ARRAYS)
    model = nn.Module()
    model.covn1, model.head = nn.Conv2d(2, 3, 3, padding="same"), nn.Linear(48, 3)
    with pytest.raises(FileError) as caught:
        keras.load_weights(model, file, strict=strict)
    said = "covn1: the source has no layer of this name, but conv1 of the same shapes."
    assert said in str(caught.value)
    keras.load_weights(model, file, mapping={"covn1": "conv1", "head": None})
    np.testing.assert_array_equal(model.covn1.bias.detach(), ARRAYS["conv1"]["bias"])


def test_a_new_module_of_a_near_name_and_another_shape_is_no_mistake(tmp_path):
    file = model_h5(tmp_path / "m.h5", CONFIG, ARRAYS)
    model = nn.Module()
    model.conv1, model.head2 = nn.Conv2d(2, 3, 3, padding="same"), nn.Linear(48, 3)
    report = keras.load_weights(model, file, strict=False)
    assert [entry.target for entry in report.missing] == ["head2.weight", "head2.bias"]


def test_a_layer_of_another_class_is_left_out(tmp_path):
    file = model_h5(tmp_path / "m.h5", CONFIG, ARRAYS)
    with pytest.warns(UserWarning, match="head is a Conv2d. Found: a layer of the class 'dense'"):
        keras.load_weights(Net(nn.Conv2d(3, 3, 1)), file, strict=False)


def test_what_the_caller_maps_must_fit(tmp_path):
    file = model_h5(tmp_path / "m.h5", CONFIG, ARRAYS)
    with pytest.raises(FileError, match=r"head.weight has the shape \(48, 3\)"):
        keras.load_weights(Net(nn.Linear(48, 3)), file, mapping={"head": "head"}, strict=False)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("size", [10, 3])
def test_exact_names_are_kept_whatever_the_others_are_called(tmp_path, strict, size):
    config = sequential(input_layer("x"), dense("a", units=4), dense("b", units=4), dense("head"))
    arrays = {name: {"kernel": array(4, 4, start=n), "bias": array(4, start=n)} for n, name in
              enumerate("ab")}  # fmt: skip
    arrays["head"] = {"kernel": array(4, 10), "bias": array(10)}
    file = model_h5(tmp_path / "m.h5", config, arrays)

    def model():
        made = nn.Module()
        made.b, made.a, made.classifier = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, size)
        return made

    for mapping in ({}, {"classifier": None}):
        module = model()
        if strict and size == 3 and not mapping:
            with pytest.raises(
                FileError, match=r"missing: classifier\.weight \(4, 3\) is not in the file"
            ):
                keras.load_weights(module, file)
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            report = keras.load_weights(module, file, mapping=mapping, strict=strict)
        np.testing.assert_array_equal(module.a.bias.detach(), arrays["a"]["bias"])
        np.testing.assert_array_equal(module.b.bias.detach(), arrays["b"]["bias"])
        given = strict and not mapping  # the rest by order, where everything must find its place
        assert report.matched == ("name and order" if given else "name")
        assert bool(torch.equal(module.classifier.bias, torch.arange(1.0, 11.0))) == given


def test_a_new_layer_does_not_take_what_belongs_to_one_left_out(tmp_path):
    file = model_h5(tmp_path / "m.h5", *chain(4, 5, 6, 7))
    model = nn.Module()
    model.d0, model.d1, model.old, model.extra = (
        nn.Linear(4, 5), nn.Linear(5, 6), nn.Linear(6, 2), nn.Linear(6, 7),
    )  # fmt: skip
    report = keras.load_weights(model, file, mapping={"old": None}, strict=False)
    assert [entry.target for entry in report.missing] == ["extra.weight", "extra.bias"]
    with pytest.raises(FileError, match=r"extra\.weight"):
        keras.load_weights(model, file, mapping={"old": None})


def test_a_near_name_is_told_where_its_shape_is_another(tmp_path):
    file = model_h5(tmp_path / "m.h5", CONFIG, ARRAYS)
    model = nn.Module()
    model.conv1, model.haed = nn.Conv2d(2, 3, 3, padding="same"), nn.Linear(48, 3)
    with pytest.raises(FileError, match="haed: the source has no layer of this name, but head, "):
        keras.load_weights(model, file)


def test_what_computes_otherwise_has_advice_of_its_own(tmp_path):
    file = model_h5(tmp_path / "m.h5", CONFIG, ARRAYS)
    model = Net(nn.Linear(48, 10))
    model.conv1 = nn.Conv2d(2, 3, 3)
    with pytest.raises(FileError) as caught:
        keras.load_weights(model, file)
    assert "Make the modules compute what the source's layers do" in str(caught.value)
    assert "mapping=" not in str(caught.value)


# By order


def chain(*sizes):
    config = sequential(
        input_layer("x", (None, sizes[0])),
        *(dense(f"d{n}", units=units) for n, units in enumerate(sizes[1:])),
    )
    arrays = {
        f"d{n}": {"kernel": array(*pair, start=n), "bias": array(pair[1], start=n)}
        for n, pair in enumerate(pairwise(sizes))
    }
    return config, arrays


class Pair(nn.Module):
    """Modules by names that the source does not have, in the order of the arguments."""

    def __init__(self, *modules):
        super().__init__()
        for name, module in zip("pqrstu", modules, strict=False):
            setattr(self, name, module)


def test_by_order_only_the_end_may_differ(tmp_path):
    file = model_h5(tmp_path / "m.h5", *chain(4, 5, 6, 7))
    with pytest.warns(UserWarning, match="r is left as it is"):
        keras.load_weights(
            Pair(nn.Linear(4, 5), nn.Linear(5, 6), nn.Linear(6, 2)), file, strict=False
        )
    with pytest.raises(FileError, match=r"q does not fit in this order: q.weight has the shape"):
        keras.load_weights(
            Pair(nn.Linear(4, 5), nn.Linear(5, 2), nn.Linear(6, 7)), file, strict=False
        )


def test_a_misfit_before_others_is_an_error_of_ours():
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    source = [array(5, 3), array(3), array(3, 2), array(2)]
    for strict in (True, False):
        with pytest.raises(FileError, match=r"0\.weight has the shape \(4, 3\)"):
            keras.load_weights(model, source, strict=strict)


def test_modules_in_one_sequential_are_in_the_order_of_the_calls(tmp_path):
    class Sequential(nn.Sequential):
        pass

    file = model_h5(tmp_path / "m.h5", *chain(4, 4, 4, 4))
    for parts in (
        (Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)),),
        (nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), nn.Linear(4, 4)),),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            keras.load_weights(Pair(*parts), file)
    parts = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)]), nn.Linear(4, 4)
    with pytest.warns(UserWarning, match=r"p\.0, p\.1, q fit in another order"):
        keras.load_weights(Pair(*parts), file)


def test_what_is_left_out_keeps_its_place_in_the_order(tmp_path):
    file = model_h5(tmp_path / "m.h5", *chain(4, 5, 6, 7))
    model = Pair(nn.Linear(4, 5), nn.Linear(9, 9), nn.Linear(6, 7))
    report = keras.load_weights(model, file, mapping={"q": None})
    assert [entry.source for entry in report.unused] == ["d1/d1/kernel:0", "d1/d1/bias:0"]
    np.testing.assert_array_equal(model.r.bias.detach(), array(7, start=2))
    longer = Pair(nn.Linear(4, 5), nn.Linear(5, 6), nn.Linear(9, 9), nn.Linear(6, 7))
    keras.load_weights(longer, file, mapping={"r": None})
    np.testing.assert_array_equal(longer.s.bias.detach(), array(7, start=2))


DOUBT = (
    "p, r fit in another order as well, and were matched in the order in which they "
    "are registered. Say which is which with `mapping=`, or check with `compare`."
)


@pytest.mark.parametrize("written", ["h5", "keras", "list"])
def test_another_order_that_fits_is_warned_of(tmp_path, written):
    config, arrays = chain(4, 4, 5, 4, 4)
    if written == "h5":
        file = model_h5(tmp_path / "m.h5", config, arrays)
    elif written == "keras":
        values = [arrays[name] for name in arrays]
        tree = {
            f"layers/dense{f'_{n}' if n else ''}/vars/{k}": value
            for n, pair in enumerate(values)
            for k, value in enumerate(pair.values())
        }
        file = model_archive(tmp_path / "m.keras", config, tree)
    else:
        file = [value for pair in arrays.values() for value in pair.values()]
    modules = [nn.Linear(4, 4), nn.Linear(4, 5), nn.Linear(5, 4), nn.Linear(4, 4)]
    with pytest.warns(UserWarning) as caught:
        keras.load_weights(Pair(*modules), file)
    assert DOUBT.replace("p, r", "p, s") in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        keras.load_weights(nn.Sequential(*modules), file)  # which is called in this order


def test_no_other_order_is_seen_where_arguments_tell(tmp_path):
    def entry(name, **config):
        return conv(name, 3, **config)

    config = sequential(
        input_layer("x", (None, 4, 4, 3)), entry("a", strides=2), entry("b", dilation_rate=2)
    )
    arrays = {name: {"kernel": array(3, 3, 3, 3), "bias": array(3)} for name in "ab"}
    file = model_h5(tmp_path / "m.h5", config, arrays)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        keras.load_weights(
            Pair(
                keras.Conv2D(3, 3, strides=2, padding="same"),
                keras.Conv2D(3, 3, dilation_rate=2, padding="same"),
            ),
            file,
        )
    config = sequential(input_layer("x", (None, 4, 4, 3)), entry("a"), entry("b"))
    file = model_h5(tmp_path / "m.h5", config, arrays)
    twins = Pair(*(keras.Conv2D(3, 3, padding="same") for _ in range(2)))
    with pytest.warns(UserWarning, match="p, q fit in another order as well"):
        keras.load_weights(twins, file)


def test_a_long_list_of_doubts_is_cut(tmp_path):
    config, arrays = chain(*[4] * 21)
    model = nn.Module()
    for n in range(20):
        setattr(model, f"own{n}", nn.Linear(4, 4))
    with pytest.warns(UserWarning, match="own11 and 8 more fit in another order"):
        keras.load_weights(model, model_h5(tmp_path / "m.h5", config, arrays))


def numbered(*counts):
    """Return the config, arrays and names of a Sequential model of Dense layers of size 4."""
    names = [f"dense_{n}" if n else "dense" for n in counts]
    config = sequential(input_layer("x"), *(dense(name, units=4) for name in names))
    arrays = {
        name: {"kernel": array(4, 4, start=n), "bias": array(4, start=n)}
        for n, name in enumerate(names)
    }
    return config, arrays


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("kind", ["h5", "keras", "rebuilt"])
def test_automatic_names_count_only_where_all_of_a_class_match(tmp_path, strict, kind):
    config, arrays = numbered(1, 2, 3)  # a second model of a session
    file = model_h5(tmp_path / "m.h5", config, arrays)
    if kind == "keras":
        tree = {
            f"layers/dense{f'_{n}' if n else ''}/vars/{k}": value
            for n, pair in enumerate(arrays.values())
            for k, value in enumerate(pair.values())
        }
        file = model_archive(tmp_path / "m.keras", config, tree)
    if kind == "rebuilt":
        first, its = numbered(0, 1, 2)
        model = keras.load_model(model_h5(tmp_path / "first.h5", first, its))
        modules = list(model.layers.values())[1:]
    else:
        model = nn.Module()
        model.dense, model.dense_1, model.dense_2 = (nn.Linear(4, 4) for _ in range(3))
        modules = [model.dense, model.dense_1, model.dense_2]
    with pytest.warns(UserWarning, match="fit in another order as well"):
        report = keras.load_weights(model, file, strict=strict)
    assert report.matched == "order"
    for module, pair in zip(modules, arrays.values(), strict=True):
        np.testing.assert_array_equal(module.bias.detach(), pair["bias"])


@pytest.mark.parametrize(
    ("first", "second", "arrays"),
    [
        (nn.PReLU(4), nn.BatchNorm1d(4), [array(4)] * 5),
        (nn.BatchNorm1d(4), nn.LayerNorm(4), [array(4)] * 6),
    ],
)
def test_another_cut_of_a_list_that_fits_is_warned_of(first, second, arrays):
    with pytest.warns(UserWarning, match="p, q fit in another order as well"):
        keras.load_weights(Pair(first, second), arrays)


def test_a_module_that_is_left_out_may_stand_anywhere(tmp_path):
    file = model_h5(tmp_path / "m.h5", *chain(4, 4, 4))
    model = Pair(nn.Linear(4, 4), nn.Linear(4, 4))
    with pytest.warns(UserWarning, match="p, q fit in another order as well"):
        keras.load_weights(model, file, mapping={"p": None})
    model = Pair(nn.Conv2d(4, 4, 1), nn.PReLU(4))
    with pytest.raises(FileError, match="p does not fit in this order"):
        keras.load_weights(
            model, [array(1, 1, 4), array(1, 1, 4, 4), array(4)], mapping={"p": None}
        )


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("module", "names"),
    [(nn.LayerNorm(4), ("bias", "weight")), (nn.LayerNorm(4), ("b", "g"))],
)
def test_names_that_are_not_keras_s_are_not_taken_in_their_order(module, names, strict):
    source = {f"p/{name}": array(4) for name in names}
    with pytest.raises(
        FileError, match=f"p has the weights gamma, beta. Found the names {', '.join(names)}"
    ):
        keras.load_weights(Pair(module), source, strict=strict)


def test_what_fits_in_another_shape_counts_as_another_order(tmp_path):
    model = Pair(nn.PReLU(4), nn.PReLU(4))
    with pytest.warns(UserWarning, match="p, q fit in another order as well"):
        keras.load_weights(model, [array(1, 1, 4), array(4)])
    model = Pair(nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 4, 3, groups=4))
    source = [array(3, 3, 4, 1), array(4), array(3, 3, 1, 4), array(4)]
    with pytest.warns(UserWarning, match="p, q fit in another order as well"):
        keras.load_weights(model, source)


def test_the_layers_of_a_rebuilt_model_keep_their_order_when_replaced(tmp_path):
    config, arrays = chain(4, 4, 4)
    model = keras.load_model(model_h5(tmp_path / "m.h5", config, arrays))
    del model.d0
    model.d0 = nn.Linear(4, 4)
    keras.load_weights(model, [value for pair in arrays.values() for value in pair.values()])
    for name, pair in arrays.items():
        np.testing.assert_array_equal(getattr(model, name).bias.detach(), pair["bias"])


def test_more_that_does_not_fit_than_does_is_no_order(tmp_path):
    file = model_h5(tmp_path / "m.h5", *chain(4, 5, 6, 7))
    model = Pair(nn.Linear(4, 5), nn.Linear(9, 9), nn.Linear(9, 9))
    with pytest.raises(FileError, match="q does not fit in this order"):
        keras.load_weights(model, file, strict=False)


def test_a_module_that_fits_what_another_was_given_is_warned_of(tmp_path):
    file = model_h5(tmp_path / "m.h5", *chain(4, 4, 4, 6))
    model = Pair(nn.Linear(4, 4), nn.Linear(4, 6), nn.Linear(4, 4))
    with pytest.raises(FileError, match="q does not fit in this order"):
        keras.load_weights(model, file, strict=False)
    file = model_h5(tmp_path / "m.h5", *chain(4, 4, 4, 4))
    model = Pair(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 6))
    with pytest.warns(UserWarning, match="p, q fit the layer that was matched with r"):
        keras.load_weights(model, file, strict=False)


@pytest.mark.parametrize("mapping", [{1: "conv1"}, {"conv1": 1}, {None: None}, ["conv1"]])
def test_a_mapping_is_of_strings(mapping):
    with pytest.raises(TypeError, match="load_weights: `mapping` must be a dict of paths"):
        keras.load_weights(nn.Linear(4, 4), [array(4, 4), array(4)], mapping=mapping)
