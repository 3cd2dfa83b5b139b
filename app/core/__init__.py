"""An outbox for Celery's tasks and what a site with workers needs beside it; OUTBOX.md says how to take it home."""

import django_stubs_ext

django_stubs_ext.monkeypatch()  # lets ModelAdmin[Order] be written
