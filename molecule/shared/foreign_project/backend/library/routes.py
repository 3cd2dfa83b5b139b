"""The site's addresses."""

from books import views
from django.urls import path

urlpatterns = [
    path("", views.shelf),
    path("motto", views.motto),
    path("visitor", views.visitor),
    path("slow", views.slow),
    path("covers", views.upload_cover),
    path("lend", views.lend_book),
]
