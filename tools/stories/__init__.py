"""A corpus of clean synthetic English speech over a closed world of small stories."""
