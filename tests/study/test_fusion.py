"""The fusion's two terms over training: a run whose encoder carried no signal is named."""

from synthetic import make_run, make_study

from koala.report import answers
from koala.study import fusion


def with_terms(seed: int, encoder: list[float], embedding: float = 0.9, **config):
    run = make_run(seed, 0.0, **config)
    run.history = run.history.assign(encoder_term=encoder, embedding_term=embedding)
    return run


def test_a_silent_encoder_is_found_and_said():
    study = make_study(
        own=[with_terms(0, [0.0003, 0.2]), with_terms(1, [0.3, 0.3])],
        none=[with_terms(0, [0.003, 0.04], embedding=0.0, backbone="none")],
        maps=[make_run(0, 0.0, network="pyramid")],
    )
    lines = fusion.table(study)
    assert list(zip(lines.label, lines.seed, lines.silent, strict=True)) == [
        ("own", 0, 1),
        ("own", 1, 0),
        ("none", 0, 1),
    ]
    assert lines.encoder[0] == [0.0003, 0.2] and lines.loss[0] == 0.02
    assert "own (seed 0, 1 of 2 epochs)" in answers.silent(study) and "none" not in answers.silent(study)
    assert not answers.silent(make_study(own=[with_terms(1, [0.3, 0.3])]))
