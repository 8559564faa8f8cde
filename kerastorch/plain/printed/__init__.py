"""Functions and classes whose source text is printed into the written code.

They import torch alone, and stand here as they are printed.
"""
