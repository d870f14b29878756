"""`audiolm audit`: what is in a folder of recordings, and what is wrong with it."""
