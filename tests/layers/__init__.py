"""Tests of layers: one table of cases a family, and what every layer must do."""
