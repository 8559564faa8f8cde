"""Bytes to weights: what each kind of file holds."""
