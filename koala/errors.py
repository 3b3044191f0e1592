"""The one exception that koala raises for bad input, shown to the user as one line."""


class KoalaError(ValueError):
    """Bad input or a missing thing. The message says what, where and what to do, in one sentence."""

    def _render_traceback_(self):
        # IPython calls this instead of drawing its own traceback: a user's slip needs no stack.
        return [f"{type(self).__name__}: {self}"]
