"""Layers of sequences beside Keras."""
