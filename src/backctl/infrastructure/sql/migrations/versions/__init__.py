"""One module per revision. A released module never changes, because databases were created with it."""
