from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

PRODUCTS = [
    ("carrot-soup", "Carrot and ginger soup", 650),
    ("onion-stew", "Onion stew with cider", 980),
    ("bean-chili", "Three bean chili", 890),
    ("lentil-dal", "Lentil dal", 720),
    ("unlucky-pie", "Unlucky pie (the gateway declines it)", 1302),
]


def add_products(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    product = apps.get_model("inventory", "Product")
    product.objects.bulk_create([product(sku=sku, name=name, price=price) for sku, name, price in PRODUCTS])


class Migration(migrations.Migration):
    dependencies = [("inventory", "0001_initial")]
    operations = [migrations.RunPython(add_products, migrations.RunPython.noop)]
