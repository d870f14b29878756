"""The paper's classifier: who speaks, and whether a model does."""
