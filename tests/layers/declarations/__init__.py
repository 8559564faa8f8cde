"""What the classes of layers declare, and how they are made."""
