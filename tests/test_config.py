import pytest

from synthgap.config import known_profiles, load_profile, parse_overrides
from synthgap.errors import SynthgapError


def test_every_profile_in_configs_loads_under_its_own_name():
    assert known_profiles() == ["demo", "paper", "recorded", "smoke"]
    for name in known_profiles():
        assert load_profile(name).name == name


def test_the_paper_profile_has_the_papers_settings():
    training = load_profile("paper").training
    assert training.texts_per_label == 3000
    assert len(training.seeds) == 3
    assert {one.encoder for one in training.classifiers.values()} == {"bert-base-uncased", "roberta-base"}
    for one in training.classifiers.values():
        assert (one.learning_rate, one.batch_size) == (5e-5, 64)


def test_a_profile_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        load_profile("demo").name = "other"


@pytest.mark.parametrize(
    ("key", "value", "names"),
    [
        ("tasks", ["ag_nws"], ["ag_nws", "did you mean 'ag_news'", "known: "]),
        ("trainning", {}, ["key 'trainning' is unknown", "did you mean 'training'"]),
        ("training.seedz", [1], ["training.seedz", "seeds"]),
        ("training.classifiers.probe.c", 1, ["training.classifiers.probe.c", "inverse_regularisation"]),
        ("training.classifiers", {"svm": {"kind": "svm"}}, ["svm", "tfidf", "probe", "finetune"]),
        ("training.seeds", [], ["training.seeds"]),
        ("training.seeds", [1, 1], ["training.seeds", "twice"]),
        ("training.classifiers.probe.seeds", [1, 1], ["'training.classifiers.probe.seeds'", "twice"]),
        ("training.curve.seeds", {"probe": [2, 2]}, ["'training.curve.seeds.probe'", "twice"]),
        ("training.curve.seeds", {"probe": {"imdb": ["a"]}}, ["'training.curve.seeds.probe.imdb.0'", "'a'"]),
        ("training.curve.seeds", {"probe": 3}, ["'training.curve.seeds.probe'", "3"]),
        ("training.regimes", ["imagined"], ["training.regimes", "imagined"]),
        ("nothing.here", 1, ["key 'nothing' is unknown", "known: "]),
        ("data.source", "cloud", ["data.source", "bundled", "cloud"]),
        ("generation.settings", ["zero_shot"], ["few_shot", "generation.settings"]),
        ("evaluation.resamples", "many", ["evaluation.resamples", "many"]),
    ],
)
def test_what_is_wrong_in_a_profile_is_named_with_the_way_out(key, value, names):
    with pytest.raises(SynthgapError) as error:
        load_profile("demo", {key: value})
    for name in names:
        assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_profile_lists_the_known_ones():
    with pytest.raises(
        SynthgapError, match=r"profile 'demoo' is unknown \(did you mean 'demo'\?\); known: demo, paper"
    ):
        load_profile("demoo")


def test_overrides_change_only_what_they_name():
    changed = load_profile("demo", parse_overrides(["training.seeds=[7]", "training.classifiers.probe.encoder=other"]))
    assert changed.training.seeds == (7,)
    assert changed.training.classifiers["probe"].encoder == "other"
    assert changed.data == load_profile("demo").data


@pytest.mark.parametrize("pair", ["training.seeds", "=1", "training.seeds=[1", "name.here=1"])
def test_a_malformed_override_is_refused(pair):
    with pytest.raises(SynthgapError, match="--set"):
        load_profile("demo", parse_overrides([pair]))


def test_yaml_is_read_by_the_safe_loader(tmp_path):
    path = tmp_path / "evil.yaml"
    path.write_text("name: !!python/object/apply:os.system ['exit 1']")
    with pytest.raises(SynthgapError, match=r"evil\.yaml"):
        load_profile(str(path))
