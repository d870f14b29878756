"""The detector of generated speech: what it learns from, and how far it is to be trusted."""
