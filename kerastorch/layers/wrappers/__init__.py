"""Layers that hold another layer and call it in their own way."""
