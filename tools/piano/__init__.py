"""A corpus of rendered piano: packaged scores, played by rules, through sampled pianos."""
