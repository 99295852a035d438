"""A Django project with nothing but accounts: what `manage.py` needs for the work of `backctl user …`."""
