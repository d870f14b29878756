"""Packs: recordings in few large files, a lossless record a clip, read anywhere at once."""
