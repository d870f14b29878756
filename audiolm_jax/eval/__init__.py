"""Measurements of every part, and the report page."""
