"""What is measured: of waveforms, tokens, words and likelihoods."""
