"""All refusals of scansynth.

A refusal is one line that says what is wrong and what to do; the command line prints it on stderr and exits with
code 2. Anything that is not a `ScansynthError` is a bug and keeps its traceback.
"""


class ScansynthError(Exception):
    """A refusal that the user can act on.

    The message is one line, names no patient and no identifier, and says what to do.
    """

    exit_code = 2


class ConfigError(ScansynthError):
    """`study.toml`, a recipe or a command's option is unknown, ill-typed or out of range."""


class StudyError(ScansynthError):
    """The study folder is missing, of another version, locked, or lacks what a stage needs."""


class StorageError(ScansynthError):
    """The disk is full, or a folder cannot be written."""


class DicomError(ScansynthError):
    """One file cannot be used: unreadable, too large, not an image. `reason` is the short form.

    Args:
        reason: A few words for the exclusion table, the same for all files that share the fault.
        detail: What exactly, for this file; no value of an identifying attribute.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class CohortError(ScansynthError):
    """The scans and labels do not form a cohort."""


class LedgerError(ScansynthError):
    """A stage asked for patients whose role it may not read."""


class TrainingError(ScansynthError):
    """Training cannot start or continue."""


class CheckpointError(TrainingError):
    """A checkpoint or weight file is missing, damaged or of another recipe."""


class RankError(TrainingError):
    """Another process of a training on several is gone, or this one cannot take part."""


class EvidenceError(ScansynthError):
    """Images cannot be judged: too few, constant, or of another size."""


class ReaderError(ScansynthError):
    """A reader study cannot be created, served, closed or read: too few images, a revealing trace, a wrong key."""


class ArchiveError(ScansynthError):
    """An archive cannot be reached, refuses, or did not deliver or take all that was asked."""


class ReleaseError(ScansynthError):
    """A set may not leave, or what was released cannot be read, signed or verified."""


class Interrupted(ScansynthError):
    """A stop was requested; finished work is kept."""
