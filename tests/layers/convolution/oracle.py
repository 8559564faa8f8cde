"""What a convolution is, spelled out in NumPy and float64. It knows nothing of the package."""

import numpy as np


def convolve(x, kernel, bias=0.0, strides=(1, 1), padding="valid", dilation=(1, 1), groups=1):
    """Convolve (batch, *spatial, in) with (*window, in / groups, out), as TensorFlow does."""
    x, kernel = np.asarray(x, np.float64), np.asarray(kernel, np.float64)
    *window, _, filters = kernel.shape
    spans = [(k - 1) * d + 1 for k, d in zip(window, dilation, strict=True)]
    if padding == "same":
        steps = zip(x.shape[1:-1], spans, strides, strict=True)
        missing = [max((-(-n // s) - 1) * s + span - n, 0) for n, span, s in steps]
        x = np.pad(x, [(0, 0), *((m // 2, m - m // 2) for m in missing), (0, 0)])
    elif padding == "causal":
        x = np.pad(x, [(0, 0), *((span - 1, 0) for span in spans), (0, 0)])
    sizes = zip(x.shape[1:-1], spans, strides, strict=True)
    places = [(n - span) // s + 1 for n, span, s in sizes]
    y = np.zeros((len(x), *places, groups, filters // groups))
    for at in np.ndindex(*window):
        steps = zip(at, dilation, strides, places, strict=True)
        seen = x[(slice(None), *(slice(a * d, a * d + p * s - s + 1, s) for a, d, s, p in steps))]
        for g, part in enumerate(np.split(kernel[at], groups, axis=-1)):
            y[..., g, :] += np.split(seen, groups, axis=-1)[g] @ part
    return y.reshape(*y.shape[:-2], filters) + bias
