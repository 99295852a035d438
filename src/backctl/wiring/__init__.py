"""The factories: the only place that chooses adapters. Each imports what it makes when it is called."""
