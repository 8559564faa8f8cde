"""Layers matched by their order where a part of the model differs."""

import warnings

import numpy as np
import pytest
from torch import nn

import kerastorch as keras
from kerastorch.saving import FileError
from tests.formats.keras_files import model_archive, model_h5
from tests.models.configs import dense, input_layer, sequential
from tests.weights.matching.models import Pair, array, chain, conv


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
    assert [entry.source for entry in report.unexpected] == ["d1/d1/kernel:0", "d1/d1/bias:0"]
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
    ("module", "names"), [(nn.LayerNorm(4), ("bias", "weight")), (nn.LayerNorm(4), ("b", "g"))]
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
