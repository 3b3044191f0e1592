"""The one exception that koala raises for bad input, and the did-you-mean hint of its sentence."""

import difflib


class KoalaError(ValueError):
    """Bad input, or something that is missing. The message says what, where and what to do, in one sentence.

    A name that it quotes may hold line breaks, other control characters or bytes that are no text: they are escaped."""

    def __init__(self, message: str = ""):
        readable = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(message))
        super().__init__("".join(readable))

    def _render_traceback_(self):
        # IPython calls this instead of showing its own traceback: bad input needs no stack.
        return [f"{type(self).__name__}: {self}"]


def nearest(name, *tables) -> str:
    """ ", did you mean 'NAME'?" with the closest name of the first of `tables` that has one near enough, or ""."""
    for names in tables:
        close = difflib.get_close_matches(str(name), list(names), n=1, cutoff=0.6)
        if close:
            return f", did you mean '{close[0]}'?"
    return ""
