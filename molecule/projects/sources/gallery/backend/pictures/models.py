from django.db import models


class Picture(models.Model):
    title = models.CharField(max_length=100)
    image = models.ImageField(upload_to="pictures/%Y/%m/")
    thumbnail = models.ImageField(upload_to="thumbnails/%Y/%m/", blank=True)

    def __str__(self):
        return self.title
