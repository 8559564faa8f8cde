"""From graphs to text: names, literals, statements, classes and the file."""
