"""What is special about convolution layers."""
