"""Whose voice a classifier hears in what a bundle says."""
