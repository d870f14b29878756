"""From audio folders to batches: sources, token store, SeqIO tasks."""
