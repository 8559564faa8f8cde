"""Attention as Keras has it."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


def make_causal_mask(query, value):
    """Return which steps of the value are not behind each step of the query."""
    steps, keys = query.shape[-2], value.shape[-2]
    return torch.ones(steps, keys, dtype=torch.bool, device=query.device).tril()


def make_window_mask(query, value, window):
    """Return which steps of the value are less than `window` away from each step of the query."""
    steps = torch.arange(query.shape[1], device=query.device)
    keys = torch.arange(value.shape[1], device=query.device)
    return (steps[:, None] - keys).abs() < window


def make_padding_mask(query_mask, key_mask):
    """Return which pairs of a query and a key count: (batch, 1, queries, keys)."""
    return query_mask[:, None, :, None] & key_mask[:, None, None]


def mask_scores(mask, like):
    """Return a mask to add to scores; a query without any key attends to all alike, as in Keras."""
    zeros = torch.zeros(mask.shape, dtype=like.dtype, device=like.device)
    return zeros.masked_fill(~mask, torch.finfo(like.dtype).min / 2)


def subtract_large(mask, like):
    """Return a mask to add to scores: -1e9 where it is False, as in Keras."""
    return (1 - mask.to(like)) * -1e9


def attend(query, key, value, mask=None, dropout=0.0, scale=1.0):
    """Return what F.scaled_dot_product_attention does, and the weights of the keys."""
    scores = query @ key.transpose(-2, -1) * scale
    if mask is not None and mask.dtype is torch.bool:
        weights = F.softmax(scores.masked_fill(~mask, -1e9), dim=-1).masked_fill(~mask, 0.0)
    else:
        weights = F.softmax(scores if mask is None else scores + mask, dim=-1)
    return F.dropout(weights, dropout) @ value, weights


class MultiHeadAttention(nn.Module):
    """Attention with several heads, whose size is not tied to that of the inputs."""

    def __init__(
        self,
        query_size,
        value_size,
        key_size,
        output_size,
        num_heads,
        key_dim,
        value_dim,
        bias=True,
        dropout=0.0,
    ):
        super().__init__()
        self.query_size, self.value_size, self.key_size = query_size, value_size, key_size
        self.output_size, self.num_heads = output_size, num_heads
        self.key_dim, self.value_dim, self.bias, self.dropout = key_dim, value_dim, bias, dropout
        self.query = nn.Linear(query_size, num_heads * key_dim, bias=bias)
        self.key = nn.Linear(key_size, num_heads * key_dim, bias=bias)
        self.value = nn.Linear(value_size, num_heads * value_dim, bias=bias)
        self.output = nn.Linear(num_heads * value_dim, output_size, bias=bias)

    def forward(self, query, value, key, mask=None, is_causal=False):
        q = self.query(query).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        k = self.key(key).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        v = self.value(value).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        dropout = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, mask, dropout, is_causal)
        return self.output(y.transpose(1, 2).flatten(2))


class HeadAttention(nn.Module):
    """Attention with several heads, of which groups share keys and values; gates are optional.

    It returns the weights of the keys, too.
    """

    def __init__(
        self,
        query_size,
        value_size,
        key_size,
        output_size,
        num_heads,
        num_groups,
        key_dim,
        value_dim,
        bias=True,
        dropout=0.0,
        use_gate=False,
    ):
        super().__init__()
        self.query_size, self.value_size, self.key_size = query_size, value_size, key_size
        self.output_size, self.num_heads, self.num_groups = output_size, num_heads, num_groups
        self.key_dim, self.value_dim, self.bias, self.dropout = key_dim, value_dim, bias, dropout
        self.use_gate = use_gate
        self.query = nn.Linear(query_size, num_heads * key_dim, bias=bias)
        self.key = nn.Linear(key_size, num_groups * key_dim, bias=bias)
        self.value = nn.Linear(value_size, num_groups * value_dim, bias=bias)
        if use_gate:
            self.gate = nn.Linear(query_size, num_heads * value_dim, bias=bias)
        self.output = nn.Linear(num_heads * value_dim, output_size, bias=bias)

    def forward(self, query, value, key, mask=None):
        repeats = self.num_heads // self.num_groups
        q = self.query(query).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        k = self.key(key).unflatten(-1, (self.num_groups, -1)).transpose(1, 2)
        v = self.value(value).unflatten(-1, (self.num_groups, -1)).transpose(1, 2)
        k, v = k.repeat_interleave(repeats, 1), v.repeat_interleave(repeats, 1)
        dropout = self.dropout if self.training else 0.0
        y, weights = attend(q, k, v, mask, dropout, self.key_dim**-0.5)
        y = y.transpose(1, 2).flatten(2)
        if self.use_gate:
            y = y * torch.sigmoid(self.gate(query))
        return self.output(y), weights


class DotAttention(nn.Module):
    """Attention by the products of queries and keys; it returns the weights of the keys, too."""

    def __init__(self, use_scale=False, dropout=0.0):
        super().__init__()
        self.use_scale, self.dropout = use_scale, dropout
        if use_scale:
            self.scale = nn.Parameter(torch.ones(()))

    def forward(self, query, value, key, mask=None):
        scores = self.score(query, key)
        weights = F.softmax(scores if mask is None else scores + mask, dim=-1)
        return F.dropout(weights, self.dropout, self.training) @ value, weights

    def score(self, query, key):
        scores = query @ key.transpose(-2, -1)
        return scores * self.scale if self.use_scale else scores


class ConcatAttention(DotAttention):
    """Attention by the sums of queries and keys, as "concat" in Keras."""

    def __init__(self, use_scale=False, dropout=0.0):
        super().__init__(use_scale, dropout)
        self.weight = nn.Parameter(torch.ones(()))

    def score(self, query, key):
        sums = query.unsqueeze(-2) + key.unsqueeze(-3)
        return self.weight * torch.tanh(self.scale * sums if self.use_scale else sums).sum(-1)


class AdditiveAttention(nn.Module):
    """Additive attention; it returns the weights of the keys, too."""

    def __init__(self, size, use_scale=True, dropout=0.0):
        super().__init__()
        self.size, self.use_scale, self.dropout = size, use_scale, dropout
        if use_scale:
            self.scale = nn.Parameter(torch.ones(size))

    def forward(self, query, value, key, mask=None):
        sums = torch.tanh(query.unsqueeze(-2) + key.unsqueeze(-3))
        scores = (self.scale * sums if self.use_scale else sums).sum(-1)
        weights = F.softmax(scores if mask is None else scores + mask, dim=-1)
        return F.dropout(weights, self.dropout, self.training) @ value, weights
