"""How a caller names versions that they know of: `5`, or `7:5` for project 7."""

import re
from typing import Any

from marshmallow import ValidationError, fields

from actors.domain.model import ProjectId

# A project, or None for the one that the address names, and its version.
Wanted = tuple[tuple[ProjectId | None, int], ...]

_MOST = 20
_NUMBER = "[1-9][0-9]{0,17}"
_ONE = f"{_NUMBER}(:{_NUMBER})?"
PATTERN = f"^{_ONE}(,{_ONE}){{0,{_MOST - 1}}}$"
_SHAPE = re.compile(PATTERN, re.ASCII)


def read_versions(text: str) -> Wanted:
    """Read what `PATTERN` says; raises ValidationError."""
    if _SHAPE.fullmatch(text) is None:
        sentence = f"It must be at most {_MOST} of version or project:version."
        raise ValidationError(sentence)
    return tuple(_one(part) for part in text.split(","))


def _one(part: str) -> tuple[ProjectId | None, int]:
    project_id, colon, version = part.rpartition(":")
    return (ProjectId(int(project_id)) if colon else None), int(version)


class Versions(fields.Field[Wanted]):
    """Versions in a query, separated by commas."""

    def __init__(self, **options: Any):
        described = options.pop("metadata", {})
        shape = {"type": "string", "pattern": PATTERN, "examples": ["415", "7:415"]}
        super().__init__(metadata={**shape, **described}, **options)

    def _deserialize(self, value: Any, *_: Any, **options: Any) -> Wanted:
        return read_versions(value)
