"""Model configs of any Keras as model specs."""
