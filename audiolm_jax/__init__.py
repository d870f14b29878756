"""AudioLM in JAX: continuation of speech and music from raw audio, without text."""
