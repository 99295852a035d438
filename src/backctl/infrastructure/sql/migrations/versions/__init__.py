"""One module per revision. A released one never changes: databases were made by it."""
