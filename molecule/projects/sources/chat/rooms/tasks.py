from asgiref.sync import async_to_sync
from celery import shared_task
from channels.layers import get_channel_layer

from rooms.models import Line


@shared_task
def count(room):
    """Tell a room how many lines were written in it."""
    lines = Line.objects.filter(room=room).count()
    async_to_sync(get_channel_layer().group_send)(room, {"type": "room.said", "text": f"{lines} lines so far"})
    return lines
