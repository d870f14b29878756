"""What lies on disk: atomic writes, hashes, config JSON, model folders and run folders."""
