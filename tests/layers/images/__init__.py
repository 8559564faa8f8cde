"""Layers over images: random changes, resizing and cropping."""
