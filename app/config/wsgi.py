"""The web application for gunicorn: `config.wsgi:application`."""

import os
import tempfile
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
# Here alone: a worker would close the pool around each task.
os.environ.setdefault("DATABASE_POOL", "1")

# gunicorn's workers are separate processes that answer for one another at /metrics: prometheus_client adds up their
# figures from files in a directory, here one for each gunicorn master. It must be known before the import.
if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
    figures = Path(tempfile.gettempdir()) / f"{Path(__file__).parent.parent.name}-metrics-{os.getppid()}"
    figures.mkdir(mode=0o700, exist_ok=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(figures)

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
