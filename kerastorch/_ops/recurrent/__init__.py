"""The times of a sequence: a loop over them, and the fused kernels of torch."""
