"""What `compare` is made of.

- `_recording`: what every layer of a Keras model gives out, and the file that it is written to.
- `_running`: the PyTorch model on the same inputs, and what its modules take and give out.
- `_difference`: how far two arrays are apart, in either layout.
- `_side_by_side`: `compare` itself, which goes through the two layer by layer.
- `_operation`: what a module computes, in parts that can be exchanged.
- `_attempts`: the computations with one part exchanged, for each known mistake.
- `_causes`: which of those mistakes explains a difference.
- `_result`: what `compare` returns.
"""

from ._side_by_side import compare as compare
