"""Import and export accounts: the record of an account, its formats, and the services that read and write them."""
