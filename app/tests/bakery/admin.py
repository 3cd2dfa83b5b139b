from core.admin import OutboxAdmin
from django.contrib import admin

from bakery.models import Loaf

admin.site.register(Loaf, OutboxAdmin)
