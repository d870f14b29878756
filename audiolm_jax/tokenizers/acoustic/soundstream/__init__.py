"""SoundStream: a causal neural codec with a residual quantiser."""
