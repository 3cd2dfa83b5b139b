from django.contrib import admin

from .models import Book, Export, Work

admin.site.register([Book, Export, Work])
