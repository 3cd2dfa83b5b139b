"""What was learnt of a project, value by value, each with where it was found and how sure it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

# What the preflight refuses; what is to be written there follows it.
FILL_IN = "FILL_IN"
FOUND, GUESS, OPEN = "found", "guess", "open"


class Template(str):
    """A template of Stockpot's own; a text of the project's is never taken for one."""


@dataclass
class Value:
    """A variable, or an entry of one.

    Attributes:
        name: the variable's, or the entry's key; empty for an entry of a list.
        value: what is written.
        comment: where it was found, or why it was guessed.
        state: FOUND, GUESS or OPEN.
        entries: of a dictionary or list whose entries have comments of their own, in place of the value.
        optional: lines that are written as comments below its entries.
    """

    name: str
    value: Any = None
    comment: str = ""
    state: str = FOUND
    entries: list[Value] | None = None
    optional: list[str] = field(default_factory=list)

    def leaves(self) -> Iterator[Value]:
        """What counts: itself, or its entries."""
        if self.entries is None:
            yield self
        for entry in self.entries or []:
            yield Value(
                f"{self.name}: {entry.name}" if entry.name else self.name, comment=entry.comment, state=entry.state
            )


def found(name: str, value: Any, where: str) -> Value:
    """A value that the project says."""
    return Value(name, value, where)


def guess(name: str, value: Any, why: str) -> Value:
    """A value that an operator has to look at."""
    return Value(name, value, f"guess: {why}", GUESS)


def unknown(name: str, what: str, why: str) -> Value:
    """A value that only an operator knows.

    Args:
        name: the variable's.
        what: what is to be written.
        why: where the project asks for it, or why it could not be told.
    """
    return Value(name, f"{FILL_IN} {what}", why, OPEN)


def leaves(values: Iterable[Value], state: str) -> list[Value]:
    """All that is in this state."""
    return [leaf for value in values for leaf in value.leaves() if leaf.state == state]
