"""The five parts together on held-out audio, and the report page."""
