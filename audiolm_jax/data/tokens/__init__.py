"""Token stores: written by Beam, read as batches through SeqIO or record by record."""
