from bakery.models import Loaf
from core.admin import OutboxAdmin
from django.contrib import admin

admin.site.register(Loaf, OutboxAdmin)
