"""What all layers have in common."""
