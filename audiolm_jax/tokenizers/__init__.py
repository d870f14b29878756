"""Audio to tokens: the neural codec and the semantic encoder."""
