"""Sampling, cached decoding, bundles, and the road from prompt to waveform."""
