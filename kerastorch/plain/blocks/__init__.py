"""Repeated parts of a model as classes of their own, and the order of its operations."""
