"""Files that are written whole and read back whole: every single bit of a sealed file counts."""

import json
import subprocess
import sys

import pytest

from koala.system import paths
from koala.system.errors import KoalaError

VALUE = {
    "loss": 0.1,
    "name": "größer",
    "none": None,
    "nan": float("nan"),
    "list": [1, 2.5, "x"],
    "n": {"3": True},
}


def test_what_is_written_is_read_and_people_can_read_it_too(tmp_path):
    paths.write_json(tmp_path / "a.json", VALUE | {"folder": tmp_path, 7: "a number as a key"})
    value = paths.read_json(tmp_path / "a.json")
    assert value["folder"] == str(tmp_path) and value["7"] == "a number as a key" and "seal" not in value
    assert {key: value[key] for key in VALUE if key != "nan"} == {
        k: v for k, v in VALUE.items() if k != "nan"
    }
    assert set(json.loads((tmp_path / "a.json").read_text())) == {*value, "seal"}


def test_every_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "a.json"
    paths.write_json(path, VALUE)
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in range(8):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
            with pytest.raises(KoalaError, match=r"a\.json is not what was written"):
                paths.read_json(path)
    path.write_bytes(whole.replace(b"\n", b"\r\n"))  # git on Windows
    assert paths.read_json(path)["loss"] == 0.1


@pytest.mark.parametrize("text", [b"", b"[1]", b"{}", b'{"a": 1}', b"\xff\xfe", b"[" * 100_000])
def test_what_was_never_sealed_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_bytes(text)
    with pytest.raises(KoalaError, match="is not what was written"):
        paths.read_json(tmp_path / "a.json")


def test_a_file_of_parameters_stays_one(tmp_path):
    paths.write_json(tmp_path / "config.json", {"epochs": 3}, seal=False)
    assert json.loads((tmp_path / "config.json").read_text()) == {"epochs": 3}
    assert paths.read_json(tmp_path / "config.json", seal=False) == {"epochs": 3}
    (tmp_path / "config.json").write_text('{"epochs": 3')
    with pytest.raises(KoalaError, match="is not what was written"):
        paths.read_json(tmp_path / "config.json", seal=False)


def test_a_lock_is_held_by_one_and_freed_with_its_process(tmp_path):
    waited = []
    with paths.locked(tmp_path / "deep" / "lock", lambda: waited.append(1)):
        code = "import sys; from koala.system import paths\nwith paths.locked(sys.argv[1], lambda: print('waits', flush=True)): print('has it')"
        other = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "deep" / "lock")], stdout=subprocess.PIPE, text=True
        )
        assert other.stdout.readline() == "waits\n" and other.poll() is None
    assert other.communicate()[0] == "has it\n" and not waited
