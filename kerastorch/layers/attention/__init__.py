"""Attention: sums of values, weighted by how well their keys fit a query."""
