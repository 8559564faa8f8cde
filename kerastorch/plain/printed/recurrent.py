"""Recurrent layers that torch lacks: with masks, with other activations, with dropout of states."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from .functions import pad_same


def run_masked(run, x, states, mask):
    """Run a recurrent layer of torch over the steps whose mask is True, as Keras does.

    At other steps the states stay, and the output is that of the step before, at first 0.
    """
    count = mask.sum(1)
    order = mask.int().argsort(dim=1, descending=True, stable=True)[..., None]  # True first
    packed = nn.utils.rnn.pack_padded_sequence(
        x.gather(1, order.expand_as(x)),
        count.clamp(min=1).cpu(),
        batch_first=True,
        enforce_sorted=False,
    )
    y, last = run(packed, states)
    y, _ = nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=x.shape[1])
    number = mask.cumsum(1)[..., None]
    y = y.gather(1, (number - 1).clamp(min=0).expand_as(y)).masked_fill(number == 0, 0.0)
    empty = (count == 0)[:, None]
    if isinstance(last, tuple):
        h, c = states or (torch.zeros_like(last[0]), torch.zeros_like(last[1]))
        return y, (torch.where(empty, h, last[0]), torch.where(empty, c, last[1]))
    h = torch.zeros_like(last) if states is None else states
    return y, torch.where(empty, h, last)


class MaskedLSTM(nn.LSTM):
    """An LSTM that leaves out the steps whose mask is False."""

    def forward(self, x, states=None, mask=None):
        if mask is None:
            return super().forward(x, states)
        return run_masked(super().forward, x, states, mask)


class MaskedGRU(nn.GRU):
    """A GRU that leaves out the steps whose mask is False."""

    def forward(self, x, states=None, mask=None):
        if mask is None:
            return super().forward(x, states)
        return run_masked(super().forward, x, states, mask)


class MaskedRNN(nn.RNN):
    """An RNN that leaves out the steps whose mask is False."""

    def forward(self, x, states=None, mask=None):
        if mask is None:
            return super().forward(x, states)
        return run_masked(super().forward, x, states, mask)


class StepDropout(nn.Dropout):
    """Drops the same features at all steps of a sequence."""

    def forward(self, x):
        return x * F.dropout(torch.ones_like(x[:, :1]), self.p, self.training)


def linear(x):
    """No activation."""
    return x


def leaky_relu(x):
    """F.leaky_relu with Keras's slope."""
    return F.leaky_relu(x, 0.2)


def softmax(x):
    """Softmax over the features."""
    return F.softmax(x, dim=1)


def log_softmax(x):
    """The logarithm of softmax over the features."""
    return F.log_softmax(x, dim=1)


class Recurrent(nn.Module):
    """A recurrent layer that computes one step after the other, with any activation.

    Where the mask is False the states stay, and the output is that of the step before, at first 0.
    Each gate drops inputs and states of its own, the same at all steps.
    """

    gates, state_count, has_second_bias = 1, 1, False

    def __init__(
        self,
        input_size,
        hidden_size,
        bias=True,
        activation=torch.tanh,
        gate_activation=torch.sigmoid,
        dropout=0.0,
        recurrent_dropout=0.0,
    ):
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        self.activation, self.gate_activation = activation, gate_activation
        self.dropout, self.recurrent_dropout = dropout, recurrent_dropout
        self.input = nn.Linear(input_size, self.gates * hidden_size, bias=bias)
        second_bias = bias and self.has_second_bias
        self.recurrent = nn.Linear(hidden_size, self.gates * hidden_size, bias=second_bias)

    def forward(self, x, states=None, mask=None):
        if states is None:
            states = (x.new_zeros(len(x), self.hidden_size),) * self.state_count
        output = torch.zeros_like(states[0])
        drop = self.sample(states[0], self.recurrent_dropout)
        outputs = []
        for number, step in enumerate(self.project(x).unbind(1)):
            new = self.compute_step(step, states, drop)
            if mask is None:
                output, states = new[0], new
            else:
                valid = mask[:, number, None]
                output = torch.where(valid, new[0], output)
                states = [torch.where(valid, one, states[n]) for n, one in enumerate(new)]
            outputs.append(output)
        return torch.stack(outputs, 1), states

    def project(self, x):
        return self.multiply(self.input, x, self.sample(x[:, :1], self.dropout))

    def sample(self, like, rate):
        """Return what multiplies the values of each gate; None without dropout."""
        if not self.training or not rate:
            return None
        return F.dropout(like.new_ones(self.gates, *like.shape), rate)

    def multiply(self, layer, x, drop):
        if drop is None:
            return layer(x)
        weights = layer.weight.chunk(self.gates)
        y = torch.cat([F.linear(x * drop[n], w) for n, w in enumerate(weights)], -1)
        return y if layer.bias is None else y + layer.bias


class LSTMLoop(Recurrent):
    """An LSTM."""

    gates, state_count = 4, 2

    def compute_step(self, x, states, drop):
        h, c = states
        i, f, g, o = (x + self.multiply(self.recurrent, h, drop)).chunk(4, 1)
        c = self.gate_activation(f) * c + self.gate_activation(i) * self.activation(g)
        return self.gate_activation(o) * self.activation(c), c


class GRULoop(Recurrent):
    """A GRU whose reset gate multiplies the product of the state, as that of nn.GRU."""

    gates, has_second_bias = 3, True

    def compute_step(self, x, states, drop):
        (h,) = states
        r, z, n = x.chunk(3, 1)
        own_r, own_z, own_n = self.multiply(self.recurrent, h, drop).chunk(3, 1)
        r, z = self.gate_activation(r + own_r), self.gate_activation(z + own_z)
        n = self.activation(n + r * own_n)
        return (z * h + (1 - z) * n,)


class ResetBeforeGRU(Recurrent):
    """A GRU whose reset gate multiplies the state, before the product with the weights."""

    gates = 3

    def compute_step(self, x, states, drop):
        (h,) = states
        r, z, n = x.chunk(3, 1)
        kept = [h] * 3 if drop is None else [h * one for one in drop]
        w_r, w_z, w_n = self.recurrent.weight.chunk(3)
        r = self.gate_activation(r + F.linear(kept[0], w_r))
        z = self.gate_activation(z + F.linear(kept[1], w_z))
        n = self.activation(n + F.linear(r * kept[2], w_n))
        return (z * h + (1 - z) * n,)


class RNNLoop(Recurrent):
    """A fully connected recurrent layer."""

    def compute_step(self, x, states, drop):
        return (self.activation(x + self.multiply(self.recurrent, states[0], drop)),)


class ConvLSTM(nn.Module):
    """An LSTM whose products are convolutions, over (batch, time, channels, *sizes)."""

    def __init__(
        self,
        rank,
        in_channels,
        filters,
        kernel_size,
        stride=1,
        padding="valid",
        dilation=1,
        bias=True,
        activation=torch.tanh,
        gate_activation=torch.sigmoid,
        dropout=0.0,
        recurrent_dropout=0.0,
    ):
        super().__init__()
        self.rank, self.in_channels, self.filters = rank, in_channels, filters
        self.kernel_size, self.stride, self.dilation = kernel_size, stride, dilation
        self.padding, self.bias = padding, bias
        self.activation, self.gate_activation = activation, gate_activation
        self.dropout, self.recurrent_dropout = dropout, recurrent_dropout
        conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[rank - 1]
        options = {"stride": stride, "dilation": dilation, "bias": bias}
        self.input = conv(in_channels, 4 * filters, kernel_size, **options)
        self.recurrent = conv(filters, 4 * filters, kernel_size, bias=False)

    def forward(self, x, states=None, mask=None):
        x = self.project(x)
        h, c = states or (x.new_zeros(len(x), self.filters, *x.shape[3:]),) * 2
        drop = self.sample(h, self.recurrent_dropout)
        output = torch.zeros_like(h)
        outputs = []
        for number, step in enumerate(x.unbind(1)):
            y = h if drop is None else torch.cat([h * one for one in drop], 1)
            i, f, g, o = (step + self.convolve(self.recurrent, y, drop, True)).chunk(4, 1)
            new_c = self.gate_activation(f) * c + self.gate_activation(i) * self.activation(g)
            new_h = self.gate_activation(o) * self.activation(new_c)
            if mask is None:
                output, h, c = new_h, new_h, new_c
            else:  # a masked step keeps the states, and repeats the output
                valid = mask[:, number].view(-1, *(1,) * (h.ndim - 1))
                output = torch.where(valid, new_h, output)
                h, c = torch.where(valid, new_h, h), torch.where(valid, new_c, c)
            outputs.append(output)
        return torch.stack(outputs, 1), (h, c)

    def project(self, x):
        drop = self.sample(x[:, :1], self.dropout)  # the same at all steps
        y = x if drop is None else torch.cat([x * one for one in drop], 2)
        y = y.flatten(0, 1)
        same = self.padding == "same"
        return self.convolve(self.input, y, drop, same).unflatten(0, x.shape[:2])

    def sample(self, like, rate):
        """Return what multiplies the values for each gate; None without dropout."""
        if not self.training or not rate:
            return None
        return F.dropout(like.new_ones(4, *like.shape), rate)

    def convolve(self, conv, x, drop, same):
        if same:
            x = pad_same(x, conv.kernel_size, conv.stride, conv.dilation)
        if drop is None:
            return conv(x)
        function = (F.conv1d, F.conv2d, F.conv3d)[self.rank - 1]  # a group for each gate
        return function(x, conv.weight, conv.bias, conv.stride, conv.padding, conv.dilation, 4)
