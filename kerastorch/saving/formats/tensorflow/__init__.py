"""TensorFlow's checkpoints and SavedModels, read without TensorFlow."""
