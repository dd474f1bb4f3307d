"""A profile: everything that a run may vary, frozen and checked before anything starts.

What describes an LLM, a corpus or a classifier is in `settings`.
"""

from collections.abc import Collection, Iterable, Mapping
from itertools import count
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from synthgap.core.errors import SynthgapError, unknown
from synthgap.core.settings import (
    REAL,
    ClassifierSettings,
    CorpusSettings,
    FinetuneSettings,
    GeneratedCorpus,
    ImportedCorpus,
    LabelledCorpus,
    LLMSettings,
    LocalSettings,
    Name,
    Names,
    OpenAISettings,
    PooledCorpus,
    ProbeSettings,
    RecordedSettings,
    Seeds,
    SeedsOrByTask,
    Settings,
    TfidfSettings,
    shown_endpoint,
)
from synthgap.core.yaml_files import load_yaml

MOST_SAID = 20  # of what is wrong with a file's values


class DataSettings(Settings):
    """Where the real texts come from; the folder itself is named by --data or SYNTHGAP_DATA."""

    source: Literal["bundled", "folder", "hub"]
    test_texts_per_label: int | None = Field(None, ge=1, description="cap on the test split; null: all of it")


class Comparison(Settings):
    """Corpora that are set beside a reference on the same test items, all trained at equal size.

    Attributes:
        tasks: null: all tasks of the profile.
        classifiers: null: all classifiers of the profile.
        seeds: of its runs, for each recording; null: as each classifier says.
        further_tests: whether its runs predict the further test sets of their tasks, too.
        question: the notebook that discusses it: 08_llms or 09_prompts; null: 03_evaluation.
    """

    corpora: Names
    reference: Name = REAL
    tasks: Names | None = Field(None, min_length=1)
    classifiers: Names | None = Field(None, min_length=1)
    seeds: Seeds | None = None
    further_tests: bool = False
    question: Literal["llms", "prompts"] | None = None

    @property
    def members(self) -> tuple[str, ...]:
        """The reference, then the other corpora."""
        return (self.reference, *(name for name in self.corpora if name != self.reference))


class GenerationSettings(Settings):
    texts_per_label: int | None = Field(None, ge=1, description="texts asked for; null: as each task says")
    texts_by_task: dict[Name, Annotated[int, Field(ge=1)]] = Field(
        {}, description="texts per label of a task that another number is asked of"
    )
    near_duplicate: float = Field(90.0, gt=0, le=100, description="similarity in percent from which texts are one")
    reject_label_words: bool = Field(
        False, description='whether texts that name their label (#irony, "(spam)") are rejected; counted they are'
    )
    conversations: int = Field(1, ge=1, description="held side by side for each label; live LLMs only")
    turns: int = Field(
        60, ge=1, description="most turns of a label's conversations, or rounds of its completions; live"
    )
    pool_share: float | None = Field(
        None, gt=0, le=1, description="few-shot pool's share of the train split; live only"
    )
    examples_per_turn: int | None = Field(None, ge=1, description="few-shot examples of a turn; live LLMs only")
    diversity_prompt: str | None = Field(None, min_length=1, description="what later turns begin with; live LLMs only")


class FurtherRuns(Settings):
    """Runs beside the grid, for all or some of its classifiers."""

    classifiers: tuple[Name, ...] | None = Field(None, min_length=1, description="null: all of them")
    seeds: dict[Name, SeedsOrByTask] = Field(
        {}, description="of a classifier, where not the grid's: {finetune: [0]}, or {finetune: {imdb: [0]}} on one task"
    )

    def seeds_of(self, classifier: str, task: str) -> tuple[int, ...] | None:
        """None: the grid's."""
        seeds = self.seeds.get(classifier)
        return seeds.get(task) if isinstance(seeds, dict) else seeds


class CurveSettings(FurtherRuns):
    """Learning curves: the grid again at smaller sizes."""

    texts_per_label: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=1, description="smaller sizes")


class AugmentationSettings(FurtherRuns):
    """Texts of one corpus beside real ones; where the corpus is few-shot, also beside the examples shown for it."""

    corpus: Name
    real_texts_per_label: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        min_length=1, description="growing amounts of real texts that synthetic ones are added to"
    )


class DecisionSettings(FurtherRuns):
    """What to do with so many real labels: train on the texts, show them to an LLM that writes, or let it label.

    Attributes:
        corpora: generated ones. Of each as many turns are taken as had shown no more real texts of a label.
        labels: a labelled corpus; null: none.
    """

    corpora: Names = Field(min_length=1)
    labels: Name | None = None
    real_texts_per_label: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        min_length=1, description="real labels spent, beside none"
    )


class TrainingSettings(Settings):
    seeds: Seeds = (0, 1, 2)
    texts_per_label: int | None = Field(None, ge=1, description="cap on the equal size; null: the smallest corpus's")
    test_texts_per_label: int | None = Field(
        None, ge=1, description="test texts that runs of the grid predict; null: all. Curves and mixes predict all"
    )
    classifiers: dict[Name, ClassifierSettings] = Field(min_length=1)
    curve: CurveSettings | None = Field(None, description="null: no learning curves")
    augmentation: AugmentationSettings | None = Field(None, description="null: no mixes of real and synthetic texts")
    decision: DecisionSettings | None = Field(None, description="null: no strategies at equal real labels spent")

    @property
    def further_runs(self) -> dict[str, FurtherRuns]:
        """{key: what is asked for} of the runs beside the grid."""
        asked = {"curve": self.curve, "augmentation": self.augmentation, "decision": self.decision}
        return {key: one for key, one in asked.items() if one}

    def seeds_of(self, classifier: str, recordings: int = 1, comparison: Comparison | None = None) -> tuple[int, ...]:
        """The seeds of each recording of a corpus that has so many, in a comparison."""
        if comparison and comparison.seeds:
            return comparison.seeds
        settings = self.classifiers[classifier]
        return (settings.seeds_per_recording if recordings > 1 else None) or settings.seeds or self.seeds

    def further(self, asked: FurtherRuns, task: str) -> Self:
        """These settings with the classifiers that a task's curves or mixes are asked of, each with its seeds there.

        A classifier that they name has them on all tasks.
        """
        changed = {
            name: self.classifiers[name].model_copy(
                update={"seeds": asked.seeds_of(name, task) or self.seeds_of(name), "tasks": None}
            )
            for name in asked.classifiers or self.classifiers_of(task)
        }
        return self.model_copy(update={"classifiers": changed, "test_texts_per_label": None})

    def classifiers_of(self, task: str, comparison: Comparison | None = None) -> dict[str, ClassifierSettings]:
        """Those that are trained on a task, for a comparison."""
        chosen = self.classifiers if comparison is None else comparison.classifiers or self.classifiers
        found = {name: one for name, one in self.classifiers.items() if name in chosen}
        return {name: one for name, one in found.items() if one.tasks is None or task in one.tasks}


class EvaluationSettings(Settings):
    resamples: int = Field(2000, ge=100)
    permutations: int = Field(10000, ge=100)
    seed: int = Field(0, ge=0)


class DiversitySettings(Settings):
    """How texts are compared in 05_diversity."""

    encoder: str = "minilm"
    distance: Literal["cosine", "euclidean"] = "cosine"
    neighbours: int = Field(5, ge=1, description="synthetic texts that a real text's similarity is the mean over")
    rarefaction_draws: int = Field(10, ge=1)
    map_texts: int = Field(300, ge=10, description="texts of each corpus on a map")
    near_duplicate: float = Field(90.0, gt=0, le=100, description="similarity of letters in percent")
    near_duplicate_cosine: float = Field(0.95, gt=0, le=1, description="similarity of embeddings")


class OwnFiles(Settings):
    """Files of texts and labels that `synthgap compare` sets side by side; notebook 11 reads them.

    Attributes:
        real: null: there are no real texts.
        test: real texts to test on; null: a part of `real`.
        synthetic: {how a corpus is called: its files}; several files are recordings of one recipe.
        text_column, label_column: several names with commas between them: the first that a file has.
        margin: points of macro-F1 within which two corpora are as good as each other.
    """

    real: str | None = None
    test: str | None = None
    synthetic: dict[str, Annotated[tuple[str, ...], Field(min_length=1)]] = Field(min_length=1)
    text_column: str = "text"
    label_column: str = "label"
    margin: float = Field(2.0, gt=0, lt=100)

    @property
    def paths(self) -> tuple[str, ...]:
        named = (self.real, self.test, *(name for files in self.synthetic.values() for name in files))
        return tuple(name for name in named if name)

    @property
    def names(self) -> dict[str, str]:
        return shown_names(self.paths)


def shown_names(paths: Iterable[str]) -> dict[str, str]:
    """{path: the file's name}, with the folders before it where another one has that name."""
    parts = {path: Path(path).absolute().parts for path in paths}
    for length in count(1):
        names = {path: "/".join(own[-length:]) for path, own in parts.items()}
        if len(set(names.values())) == len(set(parts.values())):
            break
    return names


class Profile(Settings):
    """One profile; `configs/<name>.yaml` holds it, and unknown keys are refused.

    Attributes:
        variant: names the folder of a run with other settings, `outputs/<name>-<variant>/`; null: `outputs/<name>/`.
        tasks: none in a profile of own files alone, as `synthgap compare` has it.
        own_files: what 11 compares; null: its example.
        llms: who writes the generated corpora.
        corpora: texts to train on, besides `real`.
        comparisons: which corpora are set beside which; the first is the main one. Where none is named, all corpora
            are set beside `real`.
        left_out: corpora that the data folder has no part for; see `without`.
    """

    name: Name
    variant: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")] | None = None
    title: str
    tasks: Names
    own_files: OwnFiles | None = None
    data: DataSettings
    llms: dict[Name, LLMSettings] = Field({})
    corpora: dict[Name, CorpusSettings] = Field({})
    comparisons: dict[Name, Comparison] = Field({})
    left_out: Names = ()
    generation: GenerationSettings = GenerationSettings()
    training: TrainingSettings
    evaluation: EvaluationSettings = EvaluationSettings()
    diversity: DiversitySettings = DiversitySettings()
    show_real_texts: bool = Field(False, description="whether notebooks may show texts of the real sets")

    @model_validator(mode="before")
    @classmethod
    def _all_corpora_are_compared(cls, values: Any) -> Any:
        if isinstance(values, dict) and not values.get("comparisons"):
            return {**values, "comparisons": {"all": {"corpora": list(values.get("corpora") or {})}}}
        return values

    @model_validator(mode="after")
    def _it_has_tasks(self) -> Self:
        if not self.tasks and not self.own_files:
            raise self._refusal("'tasks' is empty; name one at least")
        return self

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        for name, meaning in {REAL: "the train split of each task", "examples": "the examples in a mix"}.items():
            if name in self.corpora:
                raise self._refusal(f"'{name}' is {meaning} and cannot be another corpus")
        known, classifiers = [REAL, *self.corpora], self.training.classifiers
        unpooled = [name for name, one in self.corpora.items() if not isinstance(one, PooledCorpus)]
        asked: dict[str, tuple[Iterable[str | None], Iterable[str]]] = {}  # {what is named: names, those there are}
        for name, corpus in self.corpora.items():
            if isinstance(corpus, GeneratedCorpus):
                asked[f"llm of corpus {name}"] = (corpus.llm,), self.llms
            elif isinstance(corpus, PooledCorpus):
                asked[f"corpus in pool {name}"] = corpus.pool, unpooled
        for name, comparison in self.comparisons.items():
            asked[f"corpus of comparison {name}"] = comparison.members, known
            asked[f"classifier of comparison {name}"] = comparison.classifiers or (), classifiers
        if augmentation := self.training.augmentation:
            asked["corpus of training.augmentation"] = (augmentation.corpus,), known
        if decision := self.training.decision:
            asked["corpus of training.decision"] = (*decision.corpora, decision.labels), known
        for key, further in self.training.further_runs.items():
            asked[f"classifier of training.{key}"] = (*(further.classifiers or ()), *further.seeds), classifiers
        for what, (names, there) in asked.items():
            for name in filter(None, names):
                if name not in there:
                    raise unknown(what, name, there)
        return self

    @model_validator(mode="after")
    def _corpora_are_of_the_kind_that_is_needed(self) -> Self:
        for name, corpus in self.corpora.items():
            if not isinstance(corpus, GeneratedCorpus) or corpus.protocol != "completion":
                continue
            if isinstance(self.llms[corpus.llm], OpenAISettings):
                raise self._refusal(
                    f"corpus '{name}' has the protocol completion, and llm '{corpus.llm}' is an endpoint, which holds "
                    "conversations; leave `protocol` out, or take an LLM with the backend transformers"
                )
        if decision := self.training.decision:
            for name in decision.corpora:
                if not isinstance(self.corpora.get(name), GeneratedCorpus):
                    raise self._refusal(
                        f"'{name}' in training.decision.corpora is not generated, so nobody knows how many real labels "
                        "it has spent"
                    )
            if decision.labels and not isinstance(self.corpora.get(decision.labels), LabelledCorpus):
                raise self._refusal(f"'{decision.labels}' in training.decision.labels is no corpus of an LLM's labels")
        return self

    @model_validator(mode="after")
    def _recordings_stay_as_they_are(self) -> Self:
        changes = self.generation.model_dump(
            include={"pool_share", "examples_per_turn", "diversity_prompt"}, exclude_none=True
        )
        recorded = [name for name, llm in self.llms.items() if isinstance(llm, RecordedSettings)]
        if changes and recorded:
            raise self._refusal(
                f"generation.{next(iter(changes))} cannot change what was recorded, and llm '{recorded[0]}' is a "
                "recording; it needs a live LLM"
            )
        return self

    def _refusal(self, reason: str) -> SynthgapError:
        return SynthgapError(f"profile '{self.name}': {reason}")

    @property
    def main(self) -> Comparison:
        """The first comparison, which the paper's tables and figures are made of."""
        return next(iter(self.comparisons.values()))

    def comparisons_on(self, question: str | None) -> dict[str, Comparison]:
        """The comparisons that the notebook on a question discusses, less the main one; None: 03's."""
        further = list(self.comparisons.items())[1:]
        return {name: one for name, one in further if one.question == question}

    def corpora_on(self, question: str | None) -> tuple[str, ...]:
        """The corpora of the main comparison and of those on a question; without `real`, in the profile's order."""
        named = {name for one in (self.main, *self.comparisons_on(question).values()) for name in one.members}
        return tuple(name for name in self.corpora if name in named)

    def tasks_of(self, comparison: Comparison) -> tuple[str, ...]:
        """The comparison's tasks that the profile has, in the profile's order."""
        return tuple(task for task in self.tasks if comparison.tasks is None or task in comparison.tasks)

    def tasks_of_corpus(self, corpus: str) -> tuple[str, ...]:
        """The tasks that a corpus is needed for, in the profile's order.

        All where nothing compares it; but a prompt variant that nothing compares is needed for none.
        """
        comparisons = [one for one in self.comparisons.values() if corpus in one.members]
        needed = {task for one in comparisons for task in self.tasks_of(one)}
        pools = [name for name, one in self.corpora.items() if isinstance(one, PooledCorpus) and corpus in one.pool]
        needed |= {task for pool in pools for task in self.tasks_of_corpus(pool)}
        augmentation, variant = self.training.augmentation, getattr(self.corpora.get(corpus), "prompt", None)
        if not (comparisons or pools or variant) or (augmentation and augmentation.corpus == corpus):
            return self.tasks
        return tuple(task for task in self.tasks if task in needed)

    def recordings(self, corpus: str) -> int:
        """How many recordings a corpus has."""
        settings = self.corpora.get(corpus)
        return len(settings.repeats) if isinstance(settings, GeneratedCorpus) else 1

    @property
    def folder_name(self) -> str:
        """Name of the folder in outputs/."""
        return f"{self.name}-{self.variant}" if self.variant else self.name

    @property
    def stand_in(self) -> bool:
        """Whether the "real" texts are the bundled stand-in, whose figures are evidence of nothing."""
        return self.data.source == "bundled"

    def shown(self) -> dict[str, Any]:
        """The profile as results show it: of an endpoint's address, `shown_endpoint` alone."""
        values = self.model_dump(mode="json")
        for llm in values["llms"].values():
            if llm.get("base_url"):
                llm["base_url"] = shown_endpoint(llm["base_url"])
        return values

    def without(self, corpora: Collection[str]) -> "Profile":
        """This profile without some corpora, and without the pools and comparisons that these leave empty."""
        pools = {name: set(one.pool) for name, one in self.corpora.items() if isinstance(one, PooledCorpus)}
        gone = {*corpora, *(name for name, members in pools.items() if len(members.difference(corpora)) < 2)}
        values = self.model_dump(mode="json")
        kept: dict[str, dict[str, Any]] = {"corpora": {}, "comparisons": {}}
        for kind, key in (("corpora", "pool"), ("comparisons", "corpora")):
            for name, one in values[kind].items():
                named = {key: [member for member in one[key] if member not in gone]} if key in one else {}
                if name not in gone and all(named.values()) and one.get("reference") not in gone:
                    kept[kind][name] = one | named
        return build_profile(values | kept | {"left_out": [name for name in self.corpora if name in gone]}, {})

    def changed(self, overrides: dict[str, Any]) -> "Profile":
        """This profile with some keys set anew, for example {"training.seeds": [0]}."""
        return build_profile(self.model_dump(mode="json"), overrides)


def build_profile(values: dict[str, Any], overrides: Mapping[str, Any], where: str = "profile") -> Profile:
    for key, value in overrides.items():
        _set(values, key, value)
    try:
        return Profile.model_validate(values)
    except ValidationError as error:
        raise SynthgapError(f"{where}: {explain(error, Profile)}") from error


def parse_overrides(pairs: list[str]) -> dict[str, Any]:
    """["training.seeds=[0, 1]"] -> {"training.seeds": [0, 1]}; values are YAML."""
    overrides = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise SynthgapError(f"--set takes key=value, for example training.seeds=[0], not '{pair}'")
        try:
            overrides[key.strip()] = load_yaml(value)
        except (yaml.YAMLError, ValueError) as error:
            raise SynthgapError(f"--set {key}: '{value}' is no valid YAML value") from error
    return overrides


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """A pydantic error in a few words: the keys at fault, and what is allowed there."""
    said = [_explain(one, model) for one in error.errors()[:MOST_SAID]]
    more = error.error_count() - len(said)
    return "; ".join([*said, f"{more} more like it"] if more else said)


def _explain(one: ErrorDetails, model: type[BaseModel]) -> str:
    loc = one["loc"]
    if loc[:2] == ("training", "classifiers"):
        loc = (*loc[:3], *loc[4:])  # without the kind, which pydantic adds after the classifier's name
    if loc[:1] in {("llms",), ("corpora",)} and len(loc) > 2:
        loc = (*loc[:2], *loc[3:])  # and without the backend, or the kind of corpus
    if loc[:1] == ("training",) and loc[2:3] == ("seeds",):
        loc = (*loc[:4], *loc[5:])  # and without which of the two ways to write seeds
    key = ".".join(map(str, loc))
    if one["type"] == "extra_forbidden":
        parent = _model_at(model, one["loc"][:-1])
        return str(unknown("key", key, parent.model_fields if parent else []))
    message = one["msg"].removeprefix("Value error, ")
    message = (message[0].lower() + message[1:]).replace("tuple", "list")
    secret = key.endswith((".base_url", ".key_variable")) or isinstance(one["input"], dict)  # or it may hold one
    given = "" if secret or one["type"] == "missing" else f" (given: {one['input']!r})"
    return f"'{key}': {message}{given}"


def _model_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel] | None:
    kinds: dict[Any, type[BaseModel]] = {
        **{"tfidf": TfidfSettings, "probe": ProbeSettings, "finetune": FinetuneSettings},
        **{"recorded": RecordedSettings, "openai": OpenAISettings, "transformers": LocalSettings},
        **{"generated": GeneratedCorpus, "imported": ImportedCorpus, "labelled": LabelledCorpus},
        "pooled": PooledCorpus,
    }
    for part in loc:
        field = model.model_fields.get(str(part))
        annotation = field.annotation if field else kinds.get(part)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
    return model


def _set(values: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, last = dotted.split(".")
    for part in parents:
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            raise SynthgapError(f"--set {dotted}: '{part}' holds one value and no keys")
    values[last] = value
