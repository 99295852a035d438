"""The migrations from one schema revision to the next. The migrator runs them from the package."""
