from core.models import NEEDS_ATTENTION, OutboxRow, sweep_index
from django.db import models


class Loaf(OutboxRow):
    class State(models.TextChoices):
        DOUGH = "dough"
        BAKED = "baked"
        NEEDS_ATTENTION = NEEDS_ATTENTION

    task = "bakery.tasks.bake"
    unfinished = (State.DOUGH,)

    state = models.CharField(max_length=20, choices=State.choices, default=State.DOUGH)

    class Meta:
        indexes = (sweep_index("loaf_to_send", "dough"),)
