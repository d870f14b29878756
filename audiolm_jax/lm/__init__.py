"""The decoder-only language model of the three stages and its training step."""
