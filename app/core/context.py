from django.http import HttpRequest


def pages(request: HttpRequest) -> dict[str, object]:
    """The site's navigation: names of views and their labels."""
    return {
        "pages": [
            ("home", "Order"),
            ("images", "Pictures"),
            ("documents", "Documents"),
            ("reports", "Reports"),
            ("tasks", "Tasks"),
            ("contact", "Contact"),
        ]
    }
