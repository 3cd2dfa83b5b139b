from .production import *  # noqa: F403

# Workers answer nobody: neither hosts nor sessions.
ALLOWED_HOSTS = []
CELERY_WORKER_POOL = "threads"
CELERY_WORKER_CONCURRENCY = 4
CATALOGUED_BY = "a worker"
