"""The layers that make masks, and what all layers do with them."""
