"""How the parts of a study ended: one result file per run and per notebook, in the study's folder."""

import json
import sys
from pathlib import Path

from koala.study import questions
from koala.study.plan import Study, is_here
from koala.system import paths


def results(study: Study) -> list[dict]:
    """One dict per run, in the study's order: its result, or status "failed" or "missing" with the error."""
    return [
        {"experiment": experiment, "seed": seed, **_read(study.result_file(experiment, seed))}
        for experiment, seed in study.runs()
    ]


def outcome(study: Study, part: str) -> dict:
    """How a notebook of the study, such as "analysis", ended: status, and the error where it failed."""
    return _read(study.folder / f"{part}.json")


def _read(path: Path) -> dict:
    try:
        return paths.read_json(path)
    except FileNotFoundError:
        return {"status": "missing", "error": "not run yet"}
    except paths.Damaged as error:
        return {"status": "failed", "error": f"KoalaError: {error} Start the study again."}


def record_end(result_file) -> None:
    """Write the result file of a notebook whose only result is that it ended well."""
    paths.write_json(result_file, {"status": "finished"})


def record_failure(notebook, result_file) -> None:
    """Write a result file that says why a notebook failed, and say it."""
    error = why(notebook)
    paths.write_json(result_file, {"status": "failed", "error": error})
    print(f"failed: {error}", file=sys.stderr)


def why(notebook) -> str:
    """papermill's record of the exception that ended a notebook, else the last line of its stderr.

    notebook: also another log, beside which NAME.stderr lies; killed, it may end anywhere."""
    error = "it ended without a result: its process was killed or papermill could not start"
    said = Path(f"{notebook}.stderr")
    lines = said.read_text(errors="replace").split("\n") if said.exists() else []
    if last := [line.strip() for line in lines if line.strip()]:
        error += f" ({last[-1][:200]})"
    try:
        cells = json.loads(Path(notebook).read_text(encoding="utf-8", errors="replace"))["cells"]
    except (OSError, ValueError, LookupError, TypeError):
        return error
    for output in (output for cell in cells for output in cell.get("outputs", [])):
        if output["output_type"] == "error":
            error = f"{output['ename']}: {output['evalue']}"
    return error


def verdict(study: Study) -> int:
    """Say which page to open and what failed; 1 where anything did, else 0."""
    failed = [
        f"{row['experiment']}, seed {row['seed']}: {row['error']}"
        for row in results(study)
        if row["status"] != "finished"
    ]
    for part in questions.parts(study) + ["elsewhere"] * is_here(study.elsewhere):
        ended = outcome(study, part)
        if ended["status"] != "finished":
            failed.append(f"{part}: {ended['error']}")
    print(f"Study '{study.name}' is done: open {study.reports / 'index.html'}")
    for text in failed:
        print(f"FAILED {text}")
    return 1 if failed else 0


def forget_failures(study: Study) -> None:
    """Remove the result files of what has failed or is missing by now, so that the next call tries it again."""
    for path in study.folder.glob("*.json"):
        try:
            row = paths.read_json(path)
            lost = "run_id" in row and not (paths.runs_dir() / row["run_id"] / "result.json").exists()
        except paths.Damaged:
            row, lost = {}, True
        if lost or row.get("status") == "failed":
            path.unlink()
