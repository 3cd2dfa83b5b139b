"""Where is my parcel?"""

# So that whoever imports a task finds its queue.
from parcel.jobs import jobs as celery_app

__all__ = ["celery_app"]
