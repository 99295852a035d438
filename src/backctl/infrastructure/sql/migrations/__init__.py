"""The steps from one revision of the schema to the next, run from the package by the migrator."""
