"""What is special about pooling."""
