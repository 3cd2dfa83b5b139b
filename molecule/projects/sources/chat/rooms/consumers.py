from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer

from rooms.models import Line
from rooms.tasks import count


class RoomConsumer(AsyncJsonWebsocketConsumer):
    async def connect(self):
        self.room = self.scope["url_route"]["kwargs"]["room"]
        await self.channel_layer.group_add(self.room, self.channel_name)
        await self.accept()

    async def disconnect(self, code):
        await self.channel_layer.group_discard(self.room, self.channel_name)

    async def receive_json(self, content, **kwargs):
        text = content["text"]
        if text == "/count":
            await database_sync_to_async(count.delay)(self.room)
            return
        await Line.objects.acreate(room=self.room, text=text)
        await self.channel_layer.group_send(self.room, {"type": "room.said", "text": text})

    async def room_said(self, event):
        await self.send_json({"text": event["text"]})
