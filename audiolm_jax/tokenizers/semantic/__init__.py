"""Self-supervised encoders and k-means: audio to semantic tokens."""
