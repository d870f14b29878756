"""Long or raw recordings into short clips to train on: cut at pauses, one rate, one level."""
