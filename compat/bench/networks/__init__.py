"""Networks as one writes them in plain PyTorch."""
