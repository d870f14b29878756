"""The Descript Audio Codec (Kumar et al., arXiv 2306.06546): inference with public weights."""
