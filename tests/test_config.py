from itertools import pairwise

import pytest
import yaml

from synthgap.core.config import REAL, ImportedCorpus, parse_overrides
from synthgap.core.errors import SynthgapError
from synthgap.core.paths import base_folder, known_profiles, outputs_folder
from synthgap.core.yaml_files import load_yaml, read_yaml
from synthgap.tables import footer
from synthgap.tasks import load_profile


def test_every_profile_in_configs_loads_under_its_own_name():
    assert known_profiles() == ["demo", "local", "paper", "prompts", "recorded", "smoke", "tweets"]
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
        ("tasks", "imdb", ["'tasks': input should be a valid list (given: 'imdb')"]),
        ("training.seeds", [], ["'training.seeds': list should have at least 1 item"]),
        ("training.seeds", [1, 1], ["training.seeds", "twice"]),
        ("training.classifiers.probe.seeds", [1, 1], ["'training.classifiers.probe.seeds'", "twice"]),
        ("training.curve.seeds", {"probe": [2, 2]}, ["'training.curve.seeds.probe'", "twice"]),
        ("training.curve.seeds", {"probe": {"imdb": ["a"]}}, ["'training.curve.seeds.probe.imdb.0'", "'a'"]),
        ("training.curve.seeds", {"probe": 3}, ["'training.curve.seeds.probe'", "3"]),
        ("comparisons", {"mine": {"corpora": ["imagined"]}}, ["comparison mine", "imagined", "zero_shot"]),
        ("comparisons", {"mine": {"corpora": ["few_shot"], "tasks": ["imdbb"]}}, ["task 'imdbb'", "imdb"]),
        (
            "comparisons",
            {"mine": {"corpora": ["few_shot"], "classifiers": ["svm"]}},
            ["classifier of comparison mine 'svm'"],
        ),
        ("comparisons", {"mine": {"corpora": ["few_shot", "few_shot"]}}, ["comparisons.mine.corpora", "twice"]),
        ("corpora.zero_shot.llm", "gpt", ["llm of corpus zero_shot 'gpt' is unknown", "claude"]),
        ("corpora.zero_shot.settin", "few_shot", ["corpora.zero_shot.settin", "did you mean", "setting"]),
        ("corpora.real", {"file": "x.csv"}, ["'real' is the train split"]),
        ("llms.claude.backend", "oracle", ["llms.claude", "oracle", "recorded"]),
        ("training.augmentation.corpus", "nothing", ["training.augmentation", "nothing", "few_shot"]),
        ("generation.examples_per_turn", 3, ["generation.examples_per_turn", "recording", "live LLM"]),
        ("nothing.here", 1, ["key 'nothing' is unknown", "known: "]),
        ("name", "../demo", ["'name'", "../demo"]),
        ("name", "demo\n", ["'name'"]),
        ("variant", "a/b", ["'variant'", "a/b"]),
        ("tasks", ["../humor"], ["tasks", "../humor"]),
        ("corpora", {"../x": {"file": "x.csv"}}, ["corpora.../x"]),
        ("corpora.x", {"llm": "claude", "setting": "../few_shot"}, ["corpora.x.setting", "../few_shot"]),
        ("llms", {"a/b": {"backend": "recorded", "recording": "claude"}}, ["llms.a/b"]),
        ("training.classifiers", {"../c": {"kind": "tfidf"}}, ["training.classifiers.../c"]),
        ("comparisons", {"../c": {"corpora": ["few_shot"]}}, ["comparisons.../c"]),
        ("data.source", "cloud", ["data.source", "bundled", "cloud"]),
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
        SynthgapError, match=r"profile 'demoo' is unknown \(did you mean 'demo'\?\); known: demo, local, paper"
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


def test_the_first_comparison_is_the_main_one_and_without_any_all_corpora_are_compared():
    profile = load_profile("demo")
    assert profile.main.members == (REAL, "zero_shot", "few_shot")
    both = {"one": {"corpora": ["few_shot"], "reference": "zero_shot", "tasks": ["imdb"]}, "two": {"corpora": []}}
    changed = load_profile("demo", {"comparisons": both})
    assert changed.main.members == ("zero_shot", "few_shot")
    assert changed.tasks_of(changed.main) == ("imdb",)
    assert load_profile("demo", {"comparisons": {}}).main.corpora == ("zero_shot", "few_shot")


def test_corpora_are_needed_for_the_tasks_that_are_compared():
    compared = {"one": {"corpora": ["zero_shot"], "tasks": ["imdb", "ag_news"]}, "two": {"corpora": ["zero_shot"]}}
    assert load_profile("demo", {"comparisons": compared}).tasks_of_corpus("zero_shot") == load_profile("demo").tasks
    del compared["two"]
    profile = load_profile("demo", {"comparisons": compared})
    assert profile.tasks_of_corpus("zero_shot") == ("ag_news", "imdb")
    assert profile.tasks_of_corpus("few_shot") == profile.tasks, "it is mixed with real texts on all of them"


def test_a_corpus_is_imported_where_it_names_a_file():
    mine = {"file": "{task}.csv", "rows": {"llm": ["a", "b"]}, "written_by": "GPT-4"}
    profile = load_profile("demo", {"corpora.mine": mine, "comparisons": {}})
    assert isinstance(profile.corpora["mine"], ImportedCorpus)
    assert profile.main.corpora == ("zero_shot", "few_shot", "mine")
    assert profile.changed({}) == profile


def test_a_variant_has_a_folder_of_its_own_beside_its_base(monkeypatch, tmp_path):
    monkeypatch.setenv("SYNTHGAP_OUTPUTS", str(tmp_path))
    base = load_profile("demo")
    assert outputs_folder(base) == base_folder(base) == tmp_path / "demo"
    one, same, other = (load_profile("demo", {"training.seeds": seeds}) for seeds in ([7], [7], [8]))
    assert one.folder_name == same.folder_name != other.folder_name
    assert outputs_folder(one).parent == tmp_path
    assert outputs_folder(one).name.startswith("demo-")
    assert len(outputs_folder(one).name) == len("demo-12345678")
    assert base_folder(one) == base_folder(base)
    named = load_profile("demo", {"training.seeds": [7], "variant": "seed-7"})
    assert outputs_folder(named) == tmp_path / "demo-seed-7"
    with pytest.raises(SynthgapError, match="'variant'"):
        load_profile("demo", {"variant": "../elsewhere"})


# --------------------------------------------------------------------------------------------- files that mean no good

LEVELS = "abcdefghi"


def bomb(line: str) -> str:
    """Each of nine lines holds the one before nine times."""
    lines = [f"{b}: &{b} {line.format(', '.join([f'*{a}'] * 9))}" for a, b in pairwise(LEVELS)]
    return "\n".join(["a: &a {x: 1}", *lines])


@pytest.mark.fault("Files of others", "a YAML bomb, or a file that is no profile", "one sentence")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (bomb("[{}]"), "its aliases .* more than 100000 values"),
        (bomb("{{<<: [{}]}}"), "its aliases .* more than 100000 values"),
        ("a: &a [*a]", "its aliases"),
        ("a: &a {b: {c: *a}}", "its aliases"),
        ("[" * 3000, "nested too deeply"),
        ("a: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("a: 1\n---\nb: 2", "expected a single document"),
        ("a: 2026-99-99", "month must be in 1..12"),
        ("a: \x00", "special characters are not allowed"),
        ("- a", "must hold keys and values, not list"),
        ("", "must hold keys and values, not nothing"),
        ("\xff", "must hold keys and values, not str"),
    ],
)
def test_a_file_that_is_no_profile_is_one_sentence(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(SynthgapError, match=message):
        read_yaml(path)
    with pytest.raises(SynthgapError, match=r"mine\.yaml"):
        load_profile(str(path))


def test_aliases_of_a_usual_size_are_read():
    text = "a: &a {b: [1, 2]}\nc: *a\nd: {<<: *a, e: 3}\nf: [*a, *a]"
    assert load_yaml(text) == yaml.safe_load(text)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"base_url": "https://ann:s3cr3t@gateway.test/v1"}, ["https://gateway.test names a user or a password"]),
        ({"base_url": "htps://gateway.test/s3cr3t"}, ["'llms.mine.base_url'", "pattern"]),
        ({"base_url": "https://gateway.test/s3cr3t", "modell": "m"}, ["key 'llms.mine.modell' is unknown"]),
        ({"base_url": "https://gateway.test/s3cr3t", "backend": "opnai"}, ["llms.mine", "'opnai'"]),
        ({"key_variable": "sk-s3cr3t"}, ["'llms.mine.key_variable'", "pattern"]),
        ({"key_variable": "gsk_s3cr3t"}, ["key_variable is the name of an environment variable, and not the key"]),
    ],
)
def test_what_may_be_a_secret_is_refused_without_being_told(changes, names):
    with pytest.raises(SynthgapError) as error:
        load_profile("demo", {"llms.mine": {"backend": "openai", "model": "m"} | changes})
    for name in names:
        assert name in str(error.value)
    assert "s3cr3t" not in str(error.value)


def test_a_profile_is_shown_without_the_rest_of_an_address():
    url = "https://gateway.test:8443/s3cr3t/v1?code=hunter2"
    profile = load_profile("demo", {"llms.mine": {"backend": "openai", "model": "m", "base_url": url}})
    assert profile.shown()["llms"]["mine"]["base_url"] == "https://gateway.test:8443"
    assert profile.changed({}).llms["mine"].endpoint == url
    assert load_profile("demo").shown() == load_profile("demo").model_dump(mode="json")


POOL = {
    "corpora.both": {"pool": ["zero_shot", "few_shot"], "title": "Both"},
    "training.augmentation": None,
    "training.decision": None,
}


def test_the_corpora_of_a_pool_are_needed_for_its_tasks():
    compared = {"main": {"corpora": []}, "pool": {"corpora": ["both"], "tasks": ["imdb"], "seeds": [3]}}
    profile = load_profile("demo", POOL | {"comparisons": compared})
    assert profile.tasks_of_corpus("few_shot") == ("imdb",)
    assert profile.training.seeds_of("probe", comparison=profile.comparisons["pool"]) == (3,)
    assert profile.changed({}) == profile


@pytest.mark.parametrize(
    ("pool", "message"), [(["zero_shot"], "at least 2"), (["zero_shot", "both"], "both"), (["zero_shot", "gpt"], "gpt")]
)
def test_a_pool_is_of_several_corpora_that_are_no_pools(pool, message):
    with pytest.raises(SynthgapError, match=message):
        load_profile("demo", POOL | {"corpora.both": {"pool": pool}})


def test_results_name_the_writers_of_the_corpora_that_their_notebook_shows():
    compared = {"main": {"corpora": ["zero_shot"]}, "llms": {"corpora": ["gpt", "both"], "question": "llms"}}
    gpt = {"corpora.gpt": {"file": "x.csv", "written_by": "GPT"}, "comparisons": compared}
    profile = load_profile("demo", POOL | gpt)
    assert profile.corpora_on(None) == ("zero_shot",)
    assert ["GPT" in footer(profile, stage) for stage in ("03_evaluation", "08_llms")] == [False, True]
