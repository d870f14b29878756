"""Recordings: their index, crops and noise. Knows no model."""
