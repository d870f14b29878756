"""Public weights, imported and frozen: tokenizers that serve where those trained here do."""
