"""Compiles training steps for TPU slices that need not be there: memory, traffic, time."""
