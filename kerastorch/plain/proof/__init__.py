"""The proof that written code computes what the loaded model computes."""
