"""Memory of all processes by unit, and together. Runs on the server; ends with 1 when it is more than as many MiB as the argument says.

PSS: a page that several processes share counts once in all, and the page cache not at all.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

MOST = int(sys.argv[1])


def unit_of(process: Path) -> str:
    """The unit that a process belongs to, or "no unit"."""
    found = re.findall(r"([^/\n]+\.service)", (process / "cgroup").read_text())
    return found[-1] if found else "no unit"


def main() -> None:
    """Prints the units, the largest first."""
    kibibytes: Counter[str] = Counter()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            shares = re.search(r"^Pss:\s+(\d+) kB", (process / "smaps_rollup").read_text(), re.MULTILINE)
            kibibytes[unit_of(process)] += int(shares[1]) if shares else 0
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
    for unit, size in kibibytes.most_common():
        print(f"    {size / 1024:6.0f} MiB  {unit}")
    together = kibibytes.total() / 1024
    print(f"all processes together: {together:.0f} MiB of at most {MOST}")
    sys.exit(together > MOST)


main()
