from django.urls import path

from media import views

urlpatterns = [
    path("images/", views.images, name="images"),
    path("images/<uuid:reference>/", views.image, name="image"),
    path("documents/", views.documents, name="documents"),
]
