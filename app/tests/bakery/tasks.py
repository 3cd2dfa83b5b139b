from bakery import services
from celery import shared_task
from core.rowtask import RowTask


@shared_task(base=RowTask)
def bake(loaf_id):
    return services.bake(loaf_id=loaf_id)
