"""Other ways to encrypt the same data: the bare primitive, Fernet, JWE, and age."""
