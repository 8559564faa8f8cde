"""Functions between the layers of a Functional model."""
