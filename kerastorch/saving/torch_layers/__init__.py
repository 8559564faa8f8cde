"""Layers of torch.nn as Keras's layers: their weights and arguments."""
