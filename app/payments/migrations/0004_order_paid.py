from django.db import migrations, models


class Migration(migrations.Migration):
    """Reports count by when an order was paid: that is when a paid one moved last."""

    dependencies = [
        ("payments", "0003_paid_at"),
    ]

    operations = [
        migrations.RunSQL(
            "UPDATE payments_order SET paid_at = moved_at WHERE state = 'paid' AND paid_at IS NULL",
            migrations.RunSQL.noop,
        ),
        migrations.AddIndex(
            model_name="order",
            index=models.Index(condition=models.Q(("state", "paid")), fields=["paid_at"], name="order_paid"),
        ),
    ]
