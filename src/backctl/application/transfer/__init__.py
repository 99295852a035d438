"""Import and export accounts: the record of an account, the formats it is read from and written to, and the services."""
