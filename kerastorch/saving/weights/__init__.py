"""The weights of modules, and how Keras stores them."""
