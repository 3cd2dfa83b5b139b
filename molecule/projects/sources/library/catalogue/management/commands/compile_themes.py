import json

from django.conf import settings
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Compiles themes/*.json to compiled/themes/*.css."

    def handle(self, **options):
        compiled = settings.BASE_DIR / "compiled" / "themes"
        compiled.mkdir(parents=True, exist_ok=True)
        for theme in sorted((settings.BASE_DIR / "themes").glob("*.json")):
            rules = json.loads(theme.read_text())
            css = "".join(
                f"{selector} {{{' '.join(f'{name}: {value};' for name, value in properties.items())}}}\n"
                for selector, properties in rules.items()
            )
            (compiled / f"{theme.stem}.css").write_text(css)
            self.stdout.write(f"compiled {theme.stem}")
