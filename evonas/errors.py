"""The one error that is meant for people, the one that ends work on request, and how texts of others are shown."""

from collections.abc import Iterable

from evonas.limits import LONGEST_SHOWN, MOST_LISTED


def shown(text: str) -> str:
    """A text with each character that is not seen written as its escape, but for the ends of lines.

    So a text of somebody else cannot steer a terminal, turn the direction of writing or fail to be encoded.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def shortened(text: str, longest: int = LONGEST_SHOWN) -> str:
    """A text without its middle where it is longer than that."""
    if len(text) <= longest:
        return text
    end = longest // 4
    return f"{text[: longest - end]} ... {text[-end:]}"


def listed(names: Iterable[str]) -> str:
    """Names with commas between them; of very many the first ones, and how many there are."""
    found = list(names)
    more = f", ... ({len(found)} in all)" if len(found) > MOST_LISTED else ""
    return ", ".join(found[:MOST_LISTED]) + more


class InputError(ValueError):
    """What the user gave cannot be used; the message is one line that says where, what and how to mend it.

    The line has no characters that are not seen, and long parts are shortened in it.

    Args:
        where: the file, key or argument at fault, e.g. ``"evonorm_s.toml: evolution.window"``.
        found: what stands there.
        accepted: what may stand there.
        remedy: what to do about it.
    """

    def __init__(self, where: str, found: str, *, accepted: str = "", remedy: str = "") -> None:
        self.where, self.found, self.accepted, self.remedy = where, found, accepted, remedy
        parts = [_line(where), _line(found)] if where else [_line(found)]
        message = ": ".join(parts)
        if accepted:
            message += f"; accepted: {_line(accepted)}"
        if remedy:
            message += f"; {_line(remedy)}"
        super().__init__(message)

    def at(self, place: str) -> "InputError":
        """The same error with ``place`` put before its location: callers know the file, callees the key."""
        where = f"{place}: {self.where}" if self.where else place
        return InputError(where, self.found, accepted=self.accepted, remedy=self.remedy)

    def __reduce__(self) -> tuple[object, ...]:
        # the default would call the class with the message alone and lose the fields
        return (_rebuild, (self.where, self.found, self.accepted, self.remedy))


def _line(text: str) -> str:
    return shortened(shown(" ".join(text.split())))


class StopError(Exception):
    """Somebody wants the work to end: a signal came, or the time is up. It is no fault of what is being done."""


def _rebuild(where: str, found: str, accepted: str, remedy: str) -> InputError:
    return InputError(where, found, accepted=accepted, remedy=remedy)


def described(error: BaseException) -> str:
    """An error in one line. Errors of torch and of arithmetic speak for themselves, others need their type."""
    text, name = first_line(error), type(error).__name__
    return text if text == name or isinstance(error, RuntimeError | ArithmeticError) else f"{name}: {text}"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there was not enough memory, in the words of Python, CUDA or torch's allocator."""
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    )


def first_line(error: BaseException) -> str:
    """The first line with text of an error's message; the name of its type where there is none."""
    return next((line for line in map(str.strip, str(error).splitlines()) if line), type(error).__name__)
