"""Rows of JSON lines and CSV, read and written with a selection of their fields."""
