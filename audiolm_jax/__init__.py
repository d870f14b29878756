"""AudioLM in JAX: continuation of speech and music from raw audio, without text."""

__version__ = "0.1.0"
