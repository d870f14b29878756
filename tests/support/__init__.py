"""Tiny models, stores, runs and files that several tests use."""
