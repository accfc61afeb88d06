"""How images come by DIMSE; apart from what needs pynetdicom, so that the command line starts quickly."""

from enum import StrEnum


class Retrieval(StrEnum):
    """Over our own association (C-GET), or sent by the archive to our storage service (C-MOVE)."""

    GET = "get"
    MOVE = "move"
