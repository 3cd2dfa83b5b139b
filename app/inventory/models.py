from django.db import models


class Product(models.Model):
    sku = models.SlugField(unique=True)
    name = models.CharField(max_length=100)
    price = models.PositiveIntegerField(help_text="cents")
    stock = models.PositiveIntegerField(default=0)
    synced_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    @property
    def euros(self) -> str:
        return f"{self.price / 100:.2f}"
