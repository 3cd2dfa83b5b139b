"""The site's addresses."""

from books import views
from django.urls import path

urlpatterns = [
    path("", views.shelf),
    path("motto", views.motto),
    path("visitor", views.visitor),
    path("slow", views.slow),
    path("key", views.key),
    path("edition", views.edition),
    path("exports/<slug:name>", views.export),
    path("covers", views.upload_cover),
    path("lend", views.lend_book),
]
