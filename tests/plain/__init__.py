"""Tests of `kerastorch.plain`."""
