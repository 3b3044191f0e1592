"""Numbers of a study in words, and rows of koala.report.pairs by their kind: what its sentences are made with."""


def difference(row: dict, one: str = "one seed of each") -> str:
    """A difference with its interval, in words. one: what is said where there is a single seed."""
    interval = f"95 % interval {signed(row['low'], '')} to {signed(row['high'], '')}"
    return f"{signed(row['difference'])}, {interval}" + f", {one}" * (row["seeds"] == 1)


def signed(value: float, zero: str = "z") -> str:
    """With two decimals. zero: "z" where a value that is rounded to 0 is +0.00, "" where it keeps its sign, as the end of an
    interval must."""
    return f"{value:+{zero}.2f}".replace("-", "\N{MINUS SIGN}")


def ends(estimate: tuple[float, float, float]) -> str:
    """A mean with its interval in brackets."""
    mean, low, high = estimate
    return f"{signed(mean)} ({signed(low, '')} to {signed(high, '')})"


def of(rows: list[dict], kind: str) -> list[dict]:
    """The rows of a kind (koala.report.pairs)."""
    return [row for row in rows if row["kind"] == kind]


def means(methods: dict[str, dict]):
    """A label's mean CIEDE2000, of koala.study.compare.summary's rows by label."""
    return lambda label: methods[label]["ciede2000"]
