"""Desired state: seed files, plans and their application."""
