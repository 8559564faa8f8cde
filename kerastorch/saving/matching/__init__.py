"""Which array of a file goes into which parameter."""
