"""Read and rewrite the records of JSON lines, JSON and CSV."""
