"""HuBERT (Hsu et al., arXiv 2106.07447): inference with public weights."""
