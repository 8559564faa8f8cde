"""Keras's models as modules."""
