from bakery.models import Loaf
from core import outbox
from django.db import transaction


def order_loaf():
    with transaction.atomic():
        loaf = Loaf.objects.create()
        outbox.send_on_commit(loaf)
    return loaf


def bake(*, loaf_id):
    with transaction.atomic():
        loaf = Loaf.objects.select_for_update().get(pk=loaf_id)
        if not loaf.is_over:
            loaf.move(state=Loaf.State.BAKED)
        return loaf.state
