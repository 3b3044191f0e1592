"""Files of parameters: what else YAML can do is refused where it begins, with the line."""

import pytest

from koala.system import yaml_files
from koala.system.errors import KoalaError

BOMB = 'a: &a ["x","x","x","x","x","x","x","x","x"]\n' + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("epochs: 1\nepochs: 2", "line 2 cannot be read: 'epochs' stands there twice"),
        ("scale: {epochs: 1, epochs: 1}", "line 1 cannot be read: 'epochs' stands there twice"),
        (BOMB, "line 2 cannot be read: aliases"),
        ('"epochs = 1\\nimport os": 1', "is no name of a parameter"),
        ("1: 2", "is no name of a parameter"),
        ("? [1]\n: 2", "a key must be a name"),
        ("a: " + "9" * 5000, "cannot be read: .*4300 digits"),
        ("a: " + "[" * 5000, "line 1 cannot be read: it goes more than 10 levels deep"),
        ("a: " + "{a: " * 5000, "line 1 cannot be read: it goes more than 10 levels deep"),
        (
            "\n".join(" " * i + "a:" for i in range(200)),
            "line 11 cannot be read: it goes more than 10 levels",
        ),
        ("a: 1\n  b: : 2", "line 2 cannot be read: "),
        ("a: !!python/object/apply:os.system [x]", "line 1 cannot be read: tags"),
        ("a: !!bool x", "line 1 cannot be read: tags"),
        ("a: !!set {b}", "line 1 cannot be read: tags"),
        ("a: 1" + ":00" * 200 + ".0", "cannot be read: "),
        ("a: 2001-13-45", "cannot be read: "),
        ("a: \xff", "cannot be read: 'utf-8'"),
        ("a: " + "x" * 70_000, "has 70,003 bytes"),
        ("just words", "must hold 'name: value' lines"),
        ("", "must hold 'name: value' lines"),
    ],
)
def test_what_is_no_file_of_parameters(tmp_path, text, words):
    path = tmp_path / "mine.yaml"
    path.write_bytes(text.encode("latin1"))
    with pytest.raises(KoalaError, match=words) as caught:
        yaml_files.read(path)
    assert "\n" not in str(caught.value) and "mine.yaml" in str(caught.value)


def test_a_missing_file_is_one_sentence(tmp_path):
    with pytest.raises(KoalaError, match=r"none\.yaml cannot be read: No such file"):
        yaml_files.read(tmp_path / "none.yaml")


def test_yaml_and_json_of_parameters_are_read(tmp_path):
    (tmp_path / "a.yaml").write_text(
        "lr: 1.0e-3\nseeds: [0, 1]\nscale: {weights: auto}\nabout: >-\n  two\n  words\n"
    )
    values = {"lr": 0.001, "seeds": [0, 1], "scale": {"weights": "auto"}, "about": "two words"}
    assert yaml_files.read(tmp_path / "a.yaml") == values
    (tmp_path / "a.json").write_text('{"lr": 0.001, "resume": true}')
    assert yaml_files.read(tmp_path / "a.json") == {"lr": 0.001, "resume": True}
