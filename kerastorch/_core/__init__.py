"""What the whole package stands on: errors, arguments, arrays, names."""
