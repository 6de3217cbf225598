"""Errors of pdeml: each message says what was given, what is accepted and how to mend it."""


class PdemlError(Exception):
    """Base of every error that pdeml raises on purpose; exit code 2 of the command line."""


class InvalidProblem(PdemlError, ValueError):
    """A declaration that is not a well-formed problem (unknown symbol, missing condition …)."""


class InvalidOption(PdemlError, ValueError):
    """An option or argument outside what is accepted."""


class UnsupportedProblem(PdemlError, ValueError):
    """A well-formed problem that the chosen method cannot lower; names the term and the mend."""


class InvalidDataset(PdemlError, ValueError):
    """Data that cannot be used: NaN, wrong shape, broken or hostile file."""


class InvalidMesh(PdemlError, ValueError):
    """A mesh file that cannot be read or is not a valid mesh."""


class InvalidFile(PdemlError, ValueError):
    """A saved state (solution, checkpoint) that is damaged, foreign or of another kind."""


class OutputError(PdemlError, OSError):
    """A file or folder that cannot be written (permission, full disk); what was there is kept."""


class MissingDependency(PdemlError, ImportError):
    """An optional package that is needed here; the message holds the pip command."""


class StiffExplicitTermWarning(UserWarning):
    """A linear term of high order has a variable coefficient and cannot be stepped implicitly."""


class DivergedError(PdemlError, RuntimeError):
    """A run that met NaN or infinity; the last finite state is kept where the message says."""


class OutOfMemory(PdemlError, RuntimeError):
    """A device's memory does not hold what was asked; the message says what does."""


class DatasetMismatch(InvalidDataset):
    """A data set that is to be continued differs from what is asked; the message names where."""


class DatasetLocked(OutputError):
    """A data set that another process is writing."""
