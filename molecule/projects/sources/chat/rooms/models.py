from django.db import models


class Line(models.Model):
    room = models.SlugField()
    text = models.CharField(max_length=500)
    written = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["written"]

    def __str__(self):
        return self.text


class Server(models.Model):
    """A server process, from its start to its orderly end."""

    pid = models.PositiveIntegerField()
    started = models.DateTimeField(auto_now_add=True)
    ended = models.DateTimeField(null=True)

    def __str__(self):
        return str(self.pid)
