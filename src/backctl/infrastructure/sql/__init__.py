"""The code that SQL databases share: tables, statements, rows and the unit of work."""
