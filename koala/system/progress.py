"""Progress without scrolling: one display updated in place in a notebook, plain lines elsewhere."""

import time

from koala.system import terminal

TERMINAL_EVERY = 20.0  # seconds between two lines in papermill's terminal


class Progress:
    """Call it with (done, total, text); shows share, rate and time left at most once in `every` seconds.

    In a notebook one output is replaced in place (an executed notebook keeps its last state only)."""

    def __init__(self, unit: str = "photographs", every: float = 2.0):
        self.unit, self.every = unit, every
        self.start = self.last = time.monotonic()
        self.first = self.done = None
        self.handle, self.said = None, time.monotonic()

    def __call__(self, done: int, total: int, text: str = "") -> None:
        now = time.monotonic()
        if self.first is None or done < self.done:  # the first call, or another count begins
            self.first, self.start = done, now  # the rate leaves out what an earlier run has finished
        self.done = done
        if now - self.last < self.every and done < total:
            return
        self.last = now
        rate = (done - self.first) / max(now - self.start, 1e-9)
        left = f", {format_seconds((total - done) / rate)} left" if rate > 0 and done < total else ""
        speed = f", {rate:,.0f}/s" if rate > 0 else ""
        self.show(f"{text + ': ' if text else ''}{done:,} of {total:,} {self.unit}{speed}{left}")

    def show(self, text: str) -> None:
        """Replace what is shown by `text` (a plain line outside notebooks, a line now and then in papermill's terminal)."""
        if not in_notebook():
            print(text, flush=True)
            return
        from IPython.display import HTML, display

        if time.monotonic() - self.said > TERMINAL_EVERY:
            terminal.say(text)
            self.said = time.monotonic()

        shown = HTML(f'<pre class="koala-progress">{text}</pre>')
        if self.handle is None:
            self.handle = display(shown, display_id=True)
        else:
            self.handle.update(shown)


def in_notebook() -> bool:
    """Whether this process is a Jupyter kernel."""
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    shell = get_ipython()
    return shell is not None and hasattr(shell, "kernel")


def format_seconds(seconds: float) -> str:
    """75.2 -> "1 min 15 s"."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, rest = divmod(seconds, 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
