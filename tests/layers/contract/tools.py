"""What PyTorch's own tools do to a layer with parameters."""

from __future__ import annotations

import pytest
import torch
from torch.func import functional_call, grad, jvp, vmap
from torch.nn.utils import parametrizations, parametrize, prune
from torch.testing import assert_close

from tests.layers.contract.checks import state_of, step


class ToolsContract:
    def test_shared_memory(self, case):
        layer, x = case.built(), case.inputs()
        expected, strides = layer(x), [p.stride() for p in layer.parameters()]
        layer.share_memory()
        assert all(value.is_shared() for value in layer.state_dict().values())
        assert [p.stride() for p in layer.parameters()] == strides
        assert_close(layer(x), expected, rtol=0, atol=0)

    def test_functional_call(self, case):
        layer, x = case.built(), case.inputs()
        other = case.built()
        outputs = functional_call(layer, dict(other.named_parameters()), (x,))
        assert_close(outputs, other(x), rtol=0, atol=0)
        assert not torch.equal(outputs, layer(x))

    def test_vmap(self, case):
        layer, x = case.built().eval(), case.inputs((3, *case.shape))
        assert_close(vmap(layer)(x), torch.stack([layer(each) for each in x]))
        states = [state_of(case.built()) for _ in range(3)]
        stacked = {name: torch.stack([state[name] for state in states]) for name in states[0]}
        outputs = vmap(lambda state, x: functional_call(layer, state, (x,)))(stacked, x)
        pairs = zip(states, x, strict=True)
        assert_close(
            outputs, torch.stack([functional_call(layer, s, (each,)) for s, each in pairs])
        )

    @pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
    def test_derivatives_both_ways(self, case):
        layer = case.built().double().eval()
        x, along = (case.inputs(None, torch.float64, seed) for seed in (1, 2))
        state = {name: p.detach() for name, p in layer.named_parameters()}
        shift = {name: torch.ones_like(value) for name, value in state.items()}

        def total(state, x):
            return functional_call(layer, state, (x,)).square().sum()

        _, forward = jvp(total, (state, x), (shift, along))
        by_state, by_x = grad(total, (0, 1))(state, x)
        backward = (by_x * along).sum() + sum(value.sum() for value in by_state.values())
        assert_close(forward, backward)

    def test_weight_norm(self, case):
        layer, x = case.built(), case.inputs()
        expected, name = layer(x), next(iter(layer.state_dict()))
        parametrizations.weight_norm(layer, name)
        assert_close(layer(x), expected)
        assert len(layer.get_weights()) == len(case.built().get_weights())
        step(layer, x, torch.optim.SGD(layer.parameters(), lr=0.1))
        trained = layer(x)
        assert not torch.allclose(trained, expected)
        parametrize.remove_parametrizations(layer, name)
        assert_close(layer(x), trained)

    def test_prune(self, case):
        layer, x = case.built(), case.inputs()
        name, weight = next(iter(layer.named_parameters()))
        if weight.ndim > 1 and len(weight) > 1:
            prune.random_structured(layer, name, amount=1, dim=0)
        else:
            prune.random_unstructured(layer, name, amount=1)
        kept = getattr(layer, name) != 0
        assert not kept.all() and kept.any()
        pruned = layer(x)
        step(layer, x, torch.optim.SGD(layer.parameters(), lr=0.01))
        assert not torch.equal(layer(x), pruned)
        assert torch.equal(getattr(layer, name) != 0, kept)
        pruned = layer(x)
        prune.remove(layer, name)
        assert_close(layer(x), pruned, rtol=0, atol=0)
