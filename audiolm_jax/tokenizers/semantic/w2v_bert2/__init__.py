"""w2v-BERT 2.0 (Seamless Communication, arXiv 2312.05187): inference with public weights."""
