"""A Django project with only accounts: the minimum for `manage.py` to do the work of `backctl user …`."""
