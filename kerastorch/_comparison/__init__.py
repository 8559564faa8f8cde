"""What `compare` is made of.

- `recording`: what every layer of a Keras model gives out, and the file that it is written to.
- `running`: the PyTorch model on the same inputs, and what its modules take and give out.
- `difference`: how far two arrays are apart, in either layout.
- `side_by_side`: `compare` itself, which goes through the two layer by layer.
- `operation`: what a module computes, in parts that can be exchanged.
- `attempts`: the computations with one part exchanged, for each known mistake.
- `causes`: which of those mistakes explains a difference.
- `result`: what `compare` returns.
"""

from .side_by_side import compare as compare
