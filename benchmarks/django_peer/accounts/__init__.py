"""The two management commands that stand beside `user show` and `user list`."""
