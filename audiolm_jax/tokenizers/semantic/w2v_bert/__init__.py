"""w2v-BERT: self-supervised conformer, and k-means on its features."""
