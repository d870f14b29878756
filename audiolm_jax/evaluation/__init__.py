"""Measurements of every part, and their pages."""
