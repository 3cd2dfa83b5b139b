from django.urls import path

from media import views

urlpatterns = [
    path("images/", views.images, name="images"),
    path("images/<uuid:reference>/", views.image, name="image"),
    path("images/<uuid:reference>/original", views.original, name="original"),
    path("images/<uuid:reference>/<slug:size>.webp", views.thumbnail, name="thumbnail"),
    path("documents/", views.documents, name="documents"),
]
