"""What PyTorch's quantization, fusion and tracing do, and what to give them instead of a layer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, fx, nn
from torch.ao.quantization import quantize_dynamic
from torch.optim.swa_utils import update_bn
from torch.testing import assert_close

import kerastorch
from kerastorch.layers import BatchNormalization, Conv2D, Dense
from tests.layers.contract import batch, state_of
from tests.torch_tools.test_torch_tools import MODELS, Joined


def loaded(name: str) -> tuple[Joined, Tensor]:
    """Return a model made of a file, in eval mode, and a batch for it."""
    path, shape = MODELS[name]
    return Joined(kerastorch.load_model(path)), batch(shape)


def folded_norm(channels: int) -> BatchNormalization:
    """Return a normalization in eval mode whose statistics show."""
    norm = BatchNormalization(input_shape=(4, 4, channels)).eval()
    with torch.no_grad():
        for tensor in norm.state_dict().values():
            tensor.uniform_(0.5, 2)
    return norm


@pytest.mark.parametrize("activation", [None, "relu"])
def test_torch_s_fusion_refuses_these_normalizations(activation):
    conv = Conv2D(4, (2, 3), input_shape=(5, 6, 3), activation=activation).eval()
    with pytest.raises(AttributeError, match="eps"):
        nn.utils.fuse_conv_bn_eval(conv, folded_norm(4))
    with pytest.raises(AttributeError, match="out_features"):
        nn.utils.fuse_linear_bn_eval(Dense(4, input_shape=(5,)).eval(), nn.BatchNorm1d(4).eval())


@pytest.mark.parametrize(
    "arguments", [{"activation": "relu"}, {"lora_rank": 2}], ids=["activation", "lora"]
)
def test_torch_s_fusion_forgets_activations_and_lora(arguments):
    """It computes from the weight alone; no hook of a layer sees that."""
    conv, x = Conv2D(4, (2, 3), input_shape=(5, 6, 3), **arguments).eval(), batch((2, 5, 6, 3))
    if conv.lora_enabled:
        nn.init.normal_(conv.lora_kernel_b)
    norm = nn.BatchNorm2d(4).eval()
    norm.load_state_dict(folded_norm(4).state_dict())
    expected = norm(conv(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    assert (nn.utils.fuse_conv_bn_eval(conv, norm)(x) - expected).abs().max() > 0.01


@pytest.mark.parametrize(
    "arguments",
    [{}, {"use_bias": False}, {"padding": "same", "strides": 2}, {"lora_rank": 2}],
    ids=["valid", "no bias", "same", "lora"],
)
def test_plain_modules_of_a_convolution_and_its_normalization_are_fused(arguments):
    conv, x = Conv2D(4, (2, 3), input_shape=(5, 6, 3), **arguments).eval(), batch((2, 5, 6, 3))
    if conv.lora_enabled:
        nn.init.normal_(conv.lora_kernel_b)
    norm = folded_norm(4)
    expected = norm(conv(x)).permute(0, 3, 1, 2)
    *before, plain = nn.Sequential(conv.to_torch(input_size=(5, 6))).modules()
    fused = nn.utils.fuse_conv_bn_eval(plain, norm.to_torch(4))
    pads = [module for module in before if isinstance(module, nn.ZeroPad2d)]
    assert_close(nn.Sequential(*pads, fused)(x.permute(0, 3, 1, 2)), expected)


@pytest.mark.filterwarnings("ignore:.*torch.ao.quantization.*", "ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize("name", MODELS)
def test_dense_is_quantized_as_the_linear_layer_in_its_place(name):
    model, x = loaded(name)
    expected = model(x)
    for untouched in (quantize_dynamic(model), quantize_dynamic(model, {Dense})):
        assert_close(untouched(x), expected, rtol=0, atol=0)
    for parent in list(model.modules()):
        for name, dense in list(parent.named_children()):
            if isinstance(dense, Dense):
                setattr(parent, name, dense.to_torch())
    assert_close(model(x), expected)
    outputs = quantize_dynamic(model)(x)
    assert not torch.equal(outputs, expected)
    assert_close(outputs, expected, rtol=0.05, atol=0.05)


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")
@pytest.mark.filterwarnings("ignore:.*get_attr.? Node")  # torch 2.6
@pytest.mark.parametrize("name", MODELS)
def test_symbolic_traces_are_refused_and_exported_ones_are_graphs(name):
    from torch.fx.experimental import optimization  # it warns

    model, x = loaded(name)
    for each in (model.model, nn.Sequential(Conv2D(4, 3), nn.ReLU()).eval()):
        for trace in (fx.symbolic_trace, optimization.fuse):
            with pytest.raises(ValueError, match=r"must be a tensor .* from `torch.export.export`"):
                trace(each)
    graph = torch.export.export(model, (x,)).module()
    assert isinstance(graph, fx.GraphModule)
    assert_close(graph(x), model(x))


# Tools that look for torch's own classes


def test_update_bn_knows_torch_s_classes_only():
    """This is the way to do what it does: each batch counts the same."""
    model = nn.Sequential(BatchNormalization(input_shape=(5, 6, 3))).train()
    batches = [batch((4, 5, 6, 3), seed=seed) * 2 + seed for seed in range(3)]
    before = state_of(model)
    update_bn(batches, model)
    assert_close(model.state_dict(), before, rtol=0, atol=0)
    norms = [m for m in model.modules() if isinstance(m, BatchNormalization)]
    kept = [norm.momentum for norm in norms]
    with torch.no_grad():
        for n, x in enumerate(batches):
            for norm in norms:
                norm.momentum = n / (n + 1)
            model(x)
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum
    means = torch.stack([x.mean((0, 1, 2)) for x in batches])
    variances = torch.stack([x.var((0, 1, 2), correction=0) for x in batches])
    assert_close(model[0].running_mean, means.mean(0))
    assert_close(model[0].running_var, variances.mean(0))


def test_conversions_of_torch_s_classes_leave_these_layers_alone():
    model = nn.Sequential(Conv2D(4, (2, 3), input_shape=(5, 6, 3)), BatchNormalization())
    x = batch((2, 5, 6, 3))
    expected, strides = model(x), model[0].weight.stride()
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert list(converted) == list(model)
    for order in (torch.contiguous_format, torch.channels_last):
        nn.utils.convert_conv2d_weight_memory_format(model, order)
    assert model[0].weight.stride() == strides
    assert_close(model(x), expected)
