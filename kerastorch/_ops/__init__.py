"""Computations on tensors that know no layer."""
