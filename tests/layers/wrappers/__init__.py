"""Layers that hold other layers."""
