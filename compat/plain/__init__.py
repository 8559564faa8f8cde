"""Models as plain PyTorch code: golden texts, and files of every writer."""
