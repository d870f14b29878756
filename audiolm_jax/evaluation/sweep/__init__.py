"""Which layer and how many clusters make the best semantic tokens."""
