"""Inventory plugin: what the collection's group_vars/all holds, for inventories outside its checkout."""

from __future__ import annotations

from pathlib import Path

from ansible.inventory.data import InventoryData
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.inventory import BaseInventoryPlugin

DOCUMENTATION = r"""
name: defaults
short_description: The defaults of a whole deployment, and who is given which address, user and path
description:
  - Gives the group C(all) the variables of the collection's C(group_vars/all), which C(stockpot.stack.site) needs. A checkout has them
    beside its inventories already.
  - They are the weakest variables of an inventory, so your own group_vars and host_vars win.
options:
  plugin:
    description: This plugin's name.
    required: true
    choices: [stockpot.stack.defaults]
author: Stockpot
"""

EXAMPLES = r"""
# inventory/stockpot.yml, beside inventory/hosts.yml
plugin: stockpot.stack.defaults
"""

FOLDER = Path(__file__).resolve().parents[2] / "group_vars" / "all"


class InventoryModule(BaseInventoryPlugin):
    """Ansible's entry point."""

    NAME = "stockpot.stack.defaults"

    def verify_file(self, path: str) -> bool:
        """Whether this may be such a file."""
        return super().verify_file(path) and path.endswith((".yml", ".yaml"))

    def parse(self, inventory: InventoryData, loader: DataLoader, path: str, cache: bool = True) -> None:
        """Set the variables, templates and all."""
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        for file in sorted(FOLDER.glob("*.yml")):
            for name, value in (loader.load_from_file(str(file), trusted_as_template=True) or {}).items():
                inventory.set_variable("all", name, value)
