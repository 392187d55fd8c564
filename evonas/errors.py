"""The one error that is meant for people, and what is shown of others."""


class InputError(ValueError):
    """What the user gave cannot be used; the message is one line that says where, what and how to mend it.

    Args:
        where: the file, key or argument at fault, e.g. ``"evonorm_s.toml: evolution.window"``.
        found: what stands there.
        accepted: what may stand there.
        remedy: what to do about it.
    """

    def __init__(self, where: str, found: str, *, accepted: str = "", remedy: str = "") -> None:
        self.where, self.found, self.accepted, self.remedy = where, found, accepted, remedy
        parts = [f"{where}: {found}" if where else found]
        if accepted:
            parts.append(f"accepted: {accepted}")
        if remedy:
            parts.append(remedy)
        super().__init__("; ".join(" ".join(part.split()) for part in parts))

    def at(self, place: str) -> "InputError":
        """The same error with ``place`` put before its location: callers know the file, callees the key."""
        where = f"{place}: {self.where}" if self.where else place
        return InputError(where, self.found, accepted=self.accepted, remedy=self.remedy)

    def __reduce__(self) -> tuple[object, ...]:
        # the default would call the class with the message alone and lose the fields
        return (_rebuild, (self.where, self.found, self.accepted, self.remedy))


def _rebuild(where: str, found: str, accepted: str, remedy: str) -> InputError:
    return InputError(where, found, accepted=accepted, remedy=remedy)


def first_line(error: BaseException) -> str:
    """The first line with text of an error's message; the name of its type where there is none."""
    return next((line for line in map(str.strip, str(error).splitlines()) if line), type(error).__name__)
