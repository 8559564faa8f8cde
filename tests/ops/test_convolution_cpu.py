"""The quicker convolutions beside torch's own, and when they are taken."""

import copy
import itertools

import pytest
import torch
from torch.testing import assert_close

from kerastorch._core.layout import empty_weight
from kerastorch._ops import convolution
from kerastorch._ops import convolution_cpu as convolution_cpu_module
from kerastorch._ops.convolution_cpu import _Depthwise, conv1x1_as_matmul, select_convolution
from kerastorch.layers import Conv1D, Conv2D, Conv3D

# name -> (batch, channels, sizes), filters, window, stride, padding, dilation, groups
DEPTHWISE = {
    "odd": ((2, 16, 9, 11), 16, (5, 3), (1, 1), (2, 1), (1, 1), 16),
    "even": ((3, 17, 8, 7), 17, (4, 4), (1, 1), (0, 0), (1, 1), 17),
    "strided": ((2, 16, 12, 9), 16, (5, 5), (2, 3), (0, 1), (1, 1), 16),
    "dilated": ((2, 16, 13, 14), 16, (3, 5), (1, 1), (2, 0), (2, 3), 16),
    "one image": ((1, 20, 6, 5), 20, (7, 2), (1, 1), (3, 1), (1, 1), 20),
}
PLACES = {
    "both": ((2, 26, 5, 4), 25, (1, 1), (2, 2), (0, 0), (1, 1), 1),
    "one axis": ((1, 23, 5, 7), 18, (1, 1), (1, 3), (0, 0), (1, 1), 1),
    "larger than the image": ((3, 14, 2, 5), 13, (1, 1), (4, 2), (0, 0), (1, 1), 1),
}
# Not strided: an image that the kernel outweighs, and one that outweighs the kernel
OUTWEIGHED = ((2, 610, 5, 4), 450, (1, 1), (1, 1), (0, 0), (1, 1), 1)
OUTWEIGHING = ((2, 60, 70, 50), 30, (1, 1), (1, 1), (0, 0), (1, 1), 1)
PLACES.update({"outweighed": OUTWEIGHED})
CASES = {**DEPTHWISE, **PLACES}


def tensors(case, dtype=torch.float32, order=torch.channels_last):
    shape, filters, window, *_, groups = case
    weight = empty_weight((filters, shape[1] // groups, *window), dtype=dtype).normal_()
    x = torch.randn(shape, dtype=dtype).contiguous(memory_format=order)
    return [each.requires_grad_() for each in (x, weight, torch.randn(filters, dtype=dtype))]


def quick(case, *given):
    _, _, window, stride, padding, dilation, groups = case
    if groups == 1:
        return conv1x1_as_matmul(torch.conv2d, *given, stride, dilation, groups)[0]
    return select_convolution(window, stride, groups)(*given, stride, padding, dilation, groups)


def plain(case, *given):
    return torch.conv2d(*given, *case[3:])


def gradients(outputs, given):
    slope = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(5))
    return torch.autograd.grad(outputs, given, slope)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("with_bias", [True, False], ids=["bias", "no bias"])
def test_outputs_and_gradients_are_torch_s(name, with_bias, device):
    case = CASES[name]
    given = [each.detach().to(device).requires_grad_() for each in tensors(case)]
    bias = given[2] if with_bias else None
    wanted = given if with_bias else given[:2]
    outputs, expected = quick(case, *given[:2], bias), plain(case, *given[:2], bias)
    assert_close(outputs, expected)
    if device == "cpu":
        found = gradients(outputs, wanted)
        assert_close(found, gradients(expected, wanted))
        assert [g.stride() for g in found] == [each.stride() for each in wanted]
    with torch.no_grad():
        assert_close(quick(case, *given[:2], bias), expected.detach())


@pytest.mark.parametrize("name", CASES)
def test_the_quick_way_is_taken(name, monkeypatch):
    case, calls = CASES[name], []
    given = tensors(case)
    own = torch.conv2d

    def counted(x, *rest):
        calls.append(tuple(x.shape))
        return own(x, *rest)

    monkeypatch.setattr(torch, "conv2d", counted)
    outputs = quick(case, *given)
    assert calls == ([] if name in PLACES else [case[0]])
    gradients(outputs, given)
    images = case[0][0] if name in DEPTHWISE else 0
    assert calls[1:] == [(1, *case[0][1:])] * images


@pytest.mark.filterwarnings("ignore:.*jit.script:DeprecationWarning")  # within torch itself
@pytest.mark.parametrize("name", DEPTHWISE)
def test_every_order_and_mode_of_depthwise(name):
    case = DEPTHWISE[name]
    shape, _, window, stride, padding, dilation, _ = case
    small = (shape[0], 2, *shape[2:]), 2, window, stride, padding, dilation, 2
    given = tensors(small, torch.float64)

    def ours(*given):
        return _Depthwise.apply(*given, stride, padding, dilation)

    options = {"check_forward_ad": True, "fast_mode": True}
    assert torch.autograd.gradcheck(ours, given, **options)
    assert torch.autograd.gradgradcheck(ours, given, fast_mode=True)
    x, weight, bias = (each.detach() for each in given)
    many = torch.stack([x, 2 * x, -x])
    found = torch.vmap(lambda each: ours(each, weight, bias))(many)
    assert_close(found, torch.stack([plain(small, each, weight, bias) for each in many]))


UNMEASURED = {
    "float64": lambda given: [each.double() for each in given],
    "bfloat16": lambda given: [each.bfloat16() for each in given],
}


@pytest.mark.parametrize("kind", [*UNMEASURED, "autocast", "traced"])
@pytest.mark.parametrize("name", ["odd", "both"])
@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:DeprecationWarning")
def test_what_was_not_measured_is_left_to_torch(name, kind, monkeypatch):
    case = CASES[name]
    given = UNMEASURED.get(kind, list)(tensors(case))
    monkeypatch.setattr(convolution_cpu_module, "F", None)
    monkeypatch.setattr(convolution_cpu_module, "_Depthwise", None)
    if kind == "traced":
        traced = torch.jit.trace(lambda *given: quick(case, *given), given, check_trace=False)
        assert_close(traced(*given), plain(case, *given))
        return
    with torch.autocast("cpu", enabled=kind == "autocast"):
        assert_close(quick(case, *given), plain(case, *given))


def test_an_empty_batch_has_gradients_of_zero():
    case = ((0, 16, 9, 11), *DEPTHWISE["odd"][1:])
    given = tensors(case)
    found = gradients(quick(case, *given), given)
    assert [g.shape for g in found] == [each.shape for each in given]
    assert not found[1].any() and not found[2].any()


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("shape", [(2, 0, 4, 3), (2, 4, 0, 3)])
def test_no_places_are_refused_whatever_the_step(shape, strides):
    layer = Conv2D(5, 1, strides=strides, input_shape=(None, None, 3))
    with pytest.raises(ValueError, match="a shape at least as large as the kernel"):
        layer(torch.zeros(shape))
    assert layer(torch.zeros(0, 4, 4, 3)).shape[::3] == (0, 5)


def test_many_places_and_few_channels_are_left_to_torch(monkeypatch):
    monkeypatch.setattr(convolution_cpu_module, "F", None)
    monkeypatch.setattr(convolution_cpu_module, "_Depthwise", None)
    few = ((2, 15, 9, 11), 15, *DEPTHWISE["odd"][2:6], 15)
    many = ((2, 26, 40, 30), *PLACES["both"][1:])
    for case in (few, many):
        given = tensors(case)
        assert_close(quick(case, *given), plain(case, *given))


@pytest.fixture
def threads():
    """Return what sets the number of threads until the test has ended."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def is_product(case, monkeypatch, change=lambda x: x):
    given = tensors(case)
    given[0] = change(given[0])
    with monkeypatch.context() as patch:
        patch.setattr(convolution_cpu_module, "F", None)
        try:
            assert_close(quick(case, *given), plain(case, *given))
        except AttributeError:
            return True
    return False


def test_which_images_without_a_stride_are_multiplied(monkeypatch, threads):
    for count in (1, 2):
        threads(count)
        assert is_product(OUTWEIGHED, monkeypatch)
        assert is_product(OUTWEIGHING, monkeypatch) == (count == 1)
        assert not is_product(OUTWEIGHED, monkeypatch, torch.Tensor.contiguous)
        small = ((2, 61, 5, 4), 45, *OUTWEIGHED[2:])
        assert not is_product(small, monkeypatch)
        one = ((1, 900, 5, 4), 850, *OUTWEIGHED[2:])
        assert is_product(one, monkeypatch) == (count == 2)
        with torch.no_grad():
            assert is_product(OUTWEIGHED, monkeypatch)
            assert not is_product(OUTWEIGHING, monkeypatch)
            assert is_product(one, monkeypatch) == (count == 2)


MANY = {name: ((2, shape[1], 60, 50), *rest) for name, (shape, *rest) in DEPTHWISE.items()}
EXACT = {**MANY, "outweighed": OUTWEIGHED, "outweighing": OUTWEIGHING}


@pytest.mark.parametrize("name", EXACT)
def test_outputs_and_gradients_are_no_further_from_the_exact_ones(name, threads):
    """Against double precision; what torch itself rounds is the measure."""
    threads(1)
    case = EXACT[name]
    given = tensors(case)
    exact = [each.detach().double().requires_grad_() for each in given]
    slope = torch.randn(plain(case, *given).shape, generator=torch.Generator().manual_seed(5))

    def results(way, given):
        outputs = way(case, *given)
        return [outputs, *torch.autograd.grad(outputs, given, slope.to(outputs.dtype))]

    wanted = results(plain, exact)

    def error(way):
        pairs = zip(results(way, given), wanted, strict=True)
        return max(((g - e).abs().max() / e.abs().max()).item() for g, e in pairs)

    assert error(quick) <= max(2 * error(plain), 2e-6 if name in MANY else 1e-6)


def test_a_graph_of_any_size_asks_nothing_about_the_size():
    layer = Conv2D(450, 1, input_shape=(None, None, 610))
    sizes = dict(enumerate(torch.export.Dim(name, min=2) for name in ("batch", "height", "width")))
    graph = torch.export.export(layer, (torch.zeros(2, 2, 3, 610),), dynamic_shapes=(sizes,))
    x = torch.randn(3, 8, 9, 610)
    assert_close(graph.module()(x), layer(x))


def test_an_activation_in_place_keeps_its_memory():
    """In training, the output of a product is a view, which an activation would not overwrite."""
    plain, activated = Conv2D(9, 1), Conv2D(9, 1, activation="relu")
    assert plain._constants[2] is convolution_cpu_module.conv1x1_as_matmul
    assert activated._constants[2] is None
    activated.activation = None
    assert activated._constants[2] is convolution_cpu_module.conv1x1_as_matmul


def test_a_layer_takes_them_and_its_gradients_have_the_memory_of_its_weights():
    for size, groups in ((5, 16), (1, 1)):
        layer = Conv2D(16, size, 2, "same", groups=groups, activation="relu")
        layer(torch.randn(2, 9, 8, 16)).square().sum().backward()
        assert layer.weight.grad.stride() == layer.weight.stride()
        assert layer._constants[1:3] != (torch.conv2d, convolution.convolve_same)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("with_gradients", [True, False], ids=["gradients", "inference"])
def test_one_channel_and_one_place_along_the_width(padding, with_gradients, device):
    """What oneDNN computes wrong on some processors: see `compat/torch_reports`."""
    for width, step, size in itertools.product(range(1, 9), (2, 3, 4), ((5, 3), (3, 5), (2, 2))):
        if padding == "valid" and width < size[1]:
            continue
        layer = Conv2D(3, size, (1, step), padding, device=device, input_shape=(7, width, 1))
        x = torch.randn(2, 7, width, 1, device=device)
        with torch.set_grad_enabled(with_gradients):
            outputs = layer(x)
        assert_close(outputs.double(), copy.deepcopy(layer).double()(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("with_gradients", [True, False], ids=["gradients", "inference"])
@pytest.mark.parametrize("kernel_size", [(3, 3), (5, 3)])
@pytest.mark.parametrize("autocast", [True, False], ids=["autocast", "bfloat16"])
def test_one_channel_a_group_and_one_place_along_the_width(kernel_size, with_gradients, autocast):
    """What oneDNN reads from memory that nothing wrote, in bfloat16 on some processors."""
    for groups, width, step in itertools.product((4, 16), range(3, 6), (2, 3)):
        dtype = "float32" if autocast else "bfloat16"
        options = {"groups": groups, "dtype": dtype, "input_shape": (9, width, groups)}
        layer = Conv2D(2 * groups, kernel_size, (1, step), **options)
        x = torch.randn(2, 9, width, groups).to(layer.weight.dtype)
        expected = copy.deepcopy(layer).double()(x.double())
        unwritten = [torch.full((1000,), float("nan")) for _ in range(50)]
        del unwritten
        enabled = torch.set_grad_enabled(with_gradients)
        with enabled, torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            assert_close(layer(x).double(), expected, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("with_gradients", [True, False], ids=["gradients", "inference"])
@pytest.mark.parametrize("cls", [Conv1D, Conv3D])
def test_one_channel_in_other_ranks(cls, with_gradients, device):
    sizes = ((5, 3, 3), (2, 2, 2), (1, 3, 4))
    for width, step, size in itertools.product(range(4, 9), (2, 3, 4), sizes):
        *deep, last = (5, 6, width)[-cls.rank :]
        layer = cls(3, size[-cls.rank :], (*(1,) * len(deep), step), device=device)
        x = torch.randn(2, *deep, last, 1, device=device)
        with torch.set_grad_enabled(with_gradients):
            outputs = layer(x)
        assert_close(outputs.double(), copy.deepcopy(layer).double()(x), rtol=1e-5, atol=1e-5)


def test_a_volume_is_multiplied_where_it_is_contiguous_or_strided(monkeypatch):
    case = ((1, 60, 8, 20, 20), 50, (1, 1, 1), (1, 1, 1), (0, 0, 0), (1, 1, 1), 1)
    given = tensors(case, order=torch.channels_last_3d)
    x, weight, bias = given
    outputs, fresh = conv1x1_as_matmul(torch.conv3d, *given, *case[3:4], *case[5:])
    assert_close(outputs, torch.conv3d(*given))
    assert not fresh
    assert_close(gradients(outputs, given), gradients(torch.conv3d(*given), given))
    monkeypatch.setattr(convolution_cpu_module, "F", None)
    with pytest.raises(AttributeError):
        conv1x1_as_matmul(torch.conv3d, *given, *case[3:4], *case[5:])
    plain = x.detach().contiguous()
    assert conv1x1_as_matmul(torch.conv3d, plain, weight, bias, *case[3:4], *case[5:])[1]


@pytest.mark.parametrize("dilation", [1, 2])
def test_a_causal_output_depends_on_no_later_step(dilation):
    layer = Conv1D(6, 3, padding="causal", dilation_rate=dilation, groups=3, input_shape=(12, 3))
    x = torch.randn(2, 12, 3)
    later = torch.cat([x[:, :7], torch.full((2, 5, 3), torch.nan)], 1)
    for mode in (torch.enable_grad, torch.no_grad):
        with mode():
            outputs = layer(later)
            assert outputs[:, 7:].isnan().any((0, 2)).all()
            assert_close(outputs[:, :7], layer(x)[:, :7])


@pytest.mark.parametrize("padding", ["valid", "causal"])
def test_an_activation_of_a_sequence_overwrites_no_view(padding):
    """Of a view, autograd would copy the gradient."""
    layer = Conv1D(6, 3, padding=padding, activation="relu", input_shape=(12, 3))
    node, names = layer(torch.randn(2, 12, 3)).grad_fn, []
    while node is not None:
        names.append(node.name())
        node = node.next_functions[0][0] if node.next_functions else None
    assert names[1].startswith("Squeeze") and names[2].startswith("Relu")
    assert names[3].startswith("Convolution")
    assert not any(name.startswith(("CopySlices", "AsStrided")) for name in names)


def test_padding_keeps_the_memory_of_a_sequence():
    x = torch.randn(2, 12, 3).permute(0, 2, 1)  # (batch, channels, steps)
    padded = convolution._pad(x, [1, 2])
    assert padded.shape == (2, 3, 15) and padded.stride(1) == 1


@pytest.mark.parametrize("dynamic", [False, True])
def test_one_channel_compiled(dynamic):
    torch.compiler.reset()
    layer = Conv2D(3, (5, 3), (1, 3), input_shape=(7, 4, 1))
    compiled = torch.compile(layer, backend="aot_eager", dynamic=dynamic, fullgraph=True)
    for _ in range(20):
        x = torch.randn(2, 7, 4, 1)
        with torch.no_grad():
            assert_close(compiled(x), copy.deepcopy(layer).double()(x).float())
