"""What others take to encrypt the same: the bare primitive, Fernet, JWE, and age."""
