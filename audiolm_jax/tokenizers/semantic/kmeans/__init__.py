"""k-means of any number of frames, over any number of devices."""
