"""The factories that choose the adapters. Each one imports its adapter when it is called."""
