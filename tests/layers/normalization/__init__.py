"""Tests of the normalizations: rows first, special tests below."""
