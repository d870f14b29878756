"""Decoders of frozen tokens of any kind, to hear and measure what the tokens keep."""
