"""Codecs beside Opus: table, figures and page."""
