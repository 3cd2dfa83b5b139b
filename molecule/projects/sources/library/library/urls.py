from django.contrib import admin
from django.urls import path

from catalogue import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", views.search, name="search"),
    path("books/", views.add, name="add"),
    path("books/<int:pk>/", views.book, name="book"),
    path("exports/", views.order_export, name="order-export"),
    path("exports/<int:pk>/", views.export, name="export"),
]
