"""The factories. Only they choose adapters. Each imports its adapter when it is called."""
