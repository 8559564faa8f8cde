"""What is special about layers that change a shape."""
