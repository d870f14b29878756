"""Datasets of TensorFlow Datasets, read where they lie without it."""
