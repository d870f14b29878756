"""Kinds of experiment: what a config file can describe and `audiolm` can run."""
