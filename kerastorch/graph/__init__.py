"""A model as data: layers, nodes and the order in which they run."""
