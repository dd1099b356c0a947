"""Every exception of the package, one name for each boundary that can be crossed.

    FireactError            anything raised on purpose; the command line prints its sentence and exits with 2,
                            or with 1 where a model or a tool failed, or the budget is used up
    ├── ConfigError         a recipe, an option or a name in it
    ├── DataError           the content of a file, always with its path and, in JSON lines, the line number
    ├── RunError            a run folder that refuses: changed config, missing earlier stage
    ├── DependencyError     an optional package is not installed
    ├── FormatError         a text that is not in the expected form; in a batch it becomes part of a step
    ├── ModelError          a model did not reply; in a batch it becomes a failed trajectory
    │   ├── BusyError       it may reply another time: overload, a time-out, a lost connection, a damaged body
    │   ├── RefusalError    it or its provider's filter refuses this request
    │   ├── LimitError      the episode has used up its tokens, seconds or dollars
    │   └── AccessError     no call can succeed: wrong key, address or name; it ends the whole rollout
    ├── BudgetError         the dollars of a stage are used up; it ends the whole rollout
    └── ToolError           a tool did not answer; in a batch it becomes an observation

A message says what, where, what was expected, and what to do next, in one line.
"""


class FireactError(Exception):
    """Root of all errors that carry a sentence for the user."""


class ConfigError(FireactError):
    """A recipe, an option, or a name in it is wrong."""


class DataError(FireactError):
    """The content of a file is wrong."""


class RunError(FireactError):
    """A run folder cannot be used as asked."""


class DependencyError(FireactError):
    """An optional package is missing; the sentence holds the install command."""


class FormatError(FireactError):
    """A text is not in the form that was expected."""


class ModelError(FireactError):
    """A model failed to reply."""


class BusyError(ModelError):
    """A model did not reply, and may do so another time."""

    def __init__(
        self, message: str, *, retry_after: float = 0.0, is_overload: bool = False, has_reached: bool = True
    ) -> None:
        """
        Args:
            retry_after: seconds before which it should not be asked again.
            is_overload: whether it asks to be asked less.
            has_reached: whether what answered was such a model at all.
        """
        super().__init__(message)
        self.retry_after = retry_after
        self.is_overload = is_overload
        self.has_reached = has_reached


class RefusalError(ModelError):
    """A model, or the filter of its provider, refuses a request."""


class LimitError(ModelError):
    """An episode has reached a limit of its own."""


class AccessError(ModelError):
    """No call to a model can succeed as things are."""


class BudgetError(FireactError):
    """The dollars of a stage are used up."""


class ToolError(FireactError):
    """A tool failed to answer."""


def unknown_name(kind: str, name: str, known: list[str] | tuple[str, ...], where: str = "") -> ConfigError:
    """The one sentence for a name that no table knows: what, where, and the known ones."""
    place = f"{where}: " if where else ""
    return ConfigError(f"{place}unknown {kind} {name!r}; known: {', '.join(sorted(known))}")
