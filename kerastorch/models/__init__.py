"""Keras models as PyTorch modules."""
