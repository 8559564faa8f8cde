"""Layers that only models of `keras.applications` have; no names of `keras.layers`."""
