"""A profile: everything that a run may vary, frozen and checked before anything starts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import count
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from synthgap.core.errors import SynthgapError, unknown

REAL = "real"  # the corpus that every profile has: the train split of each task
MOST_VALUES = 100_000  # in a YAML file
MOST_SAID = 20  # of what is wrong with a file's values
Setting = Literal["zero_shot", "few_shot"]
ProtocolName = Literal["conversation", "completion"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]


def _each_once(values: tuple[Any, ...]) -> tuple[Any, ...]:
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"'{value}' stands there twice")
    return values


Names = Annotated[tuple[Name, ...], AfterValidator(_each_once)]
Seeds = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1), AfterValidator(_each_once)]
Repeats = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1), AfterValidator(_each_once)]
SeedsOrByTask = Annotated[
    Annotated[Seeds, Tag("seeds")] | Annotated[dict[Name, Seeds], Tag("by task")],
    Discriminator(lambda value: "by task" if isinstance(value, dict) else "seeds"),
]


def shown_endpoint(url: str) -> str:
    """Scheme, host and port of an address; the rest may be a secret, and is neither shown nor stored."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class DataSettings(Settings):
    """Where the real texts come from; the folder itself is named by --data or SYNTHGAP_DATA."""

    source: Literal["bundled", "folder", "hub"]
    test_texts_per_label: int | None = Field(None, ge=1, description="cap on the test split; null: all of it")


class RecordedSettings(Settings):
    """A recording answers the conversations, turn by turn."""

    backend: Literal["recorded"]
    recording: str = Field(
        min_length=1, description="a recording of the package, or a folder: absolute, or below the project's"
    )


class OpenAISettings(Settings):
    """An endpoint that speaks OpenAI's chat completions answers: a provider, vLLM, Ollama, llama.cpp, ...

    The key is read from the environment alone; prices are those of the provider, none are built in.
    """

    backend: Literal["openai"]
    model: str = Field(min_length=1)
    base_url: str | None = Field(None, pattern=r"^https?://", description="null: OpenAI's own")
    key_variable: str = Field("OPENAI_API_KEY", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="where the key is")
    temperature: float | None = Field(None, ge=0, le=2, description="null: the endpoint's default")
    top_p: float | None = Field(None, gt=0, le=1)
    max_tokens: int = Field(2048, ge=1, description="longest answer; an answer that reaches it is not used")
    length_parameter: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    context_window: int | None = Field(None, ge=1, description="tokens of prompt and answer together; null: unknown")
    structured: bool = Field(False, description="ask for JSON by a schema, where the endpoint supports it")
    system_role: bool | None = Field(
        None,
        description="null: the system prompt begins the first request where the endpoint refuses it; false: always",
    )
    seed: int | None = Field(None, ge=0, description="sent with each request, one more for each further conversation")
    timeout: float = Field(120, gt=0, description="seconds until a request without an answer is given up")
    attempts: int = Field(6, ge=1, description="how often one request is tried")
    concurrency: int = Field(64, ge=1, le=1000, description="most requests at a time; fewer where it slows")
    requests_per_minute: float | None = Field(None, gt=0)
    tokens_per_minute: float | None = Field(None, gt=0)
    input_price: float | None = Field(None, ge=0, description="per million tokens, in the currency of the budget")
    output_price: float | None = Field(None, ge=0, description="per million tokens")
    budget: float | None = Field(
        None, ge=0, description="of this model, for all runs of one response log; needs both prices"
    )

    @field_validator("base_url")
    @classmethod
    def _nobody_is_named_in_it(cls, url: str | None) -> str | None:
        if url and "@" in urlsplit(url).netloc:
            raise SynthgapError(
                f"the base_url of an LLM at {shown_endpoint(url)} names a user or a password before the @; leave them "
                "out: what an endpoint wants to know is sent as its key, from the environment (key_variable)"
            )
        return url

    @field_validator("key_variable")
    @classmethod
    def _it_is_no_key(cls, name: str) -> str:
        if name.startswith(("sk_", "gsk_")):
            raise SynthgapError("an LLM's key_variable is the name of an environment variable, and not the key itself")
        return name

    @model_validator(mode="after")
    def _budget_has_prices(self) -> OpenAISettings:
        if self.budget is not None and (self.input_price is None or self.output_price is None):
            raise SynthgapError("an LLM's budget needs its input_price and output_price, or it could not be kept")
        return self

    @property
    def endpoint(self) -> str:
        return self.base_url or "https://api.openai.com/v1"


class LocalSettings(Settings):
    """A causal language model in transformers answers, on this machine."""

    backend: Literal["transformers"]
    model: str = Field(min_length=1, description="a folder, a name on the hub (name@revision pins it), or package:NAME")
    device: str | None = Field(None, description="for example cpu or cuda:0; null: a GPU where there is one")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    batch_size: int = Field(8, ge=1, description="requests answered at once")
    temperature: float = Field(1.0, ge=0, le=2, description="0: always the most probable token")
    top_p: float | None = Field(None, gt=0, le=1)
    max_tokens: int = Field(2048, ge=1, description="longest answer; an answer that reaches it is not used")
    seed: int = Field(0, ge=0)
    attempts: int = Field(3, ge=1, description="how often one request is tried")


LiveSettings = OpenAISettings | LocalSettings
LLMSettings = Annotated[RecordedSettings | OpenAISettings | LocalSettings, Field(discriminator="backend")]


class GeneratedCorpus(Settings):
    """Texts that an LLM of the profile writes.

    Attributes:
        setting: zero_shot gives the LLM the label alone, few_shot real examples of the label too.
        protocol: conversation asks for a list of texts, turn by turn, as the paper does; completion has the LLM go on
            from the beginning of one text (ZeroGen, arXiv 2202.07922), which base models and small ones need.
        prompt: what the prompts say otherwise than the task's, a file `prompts/<prompt>.yaml` of the package or of the
            project; null: nothing.
        repeats: the recordings of these conditions that make up the corpus, numbered from 1 on. Each is written anew,
            under the same prompts and from a few-shot pool of its own; a run trains on one of them.
        title: how tables and figures call the corpus; null: its name.
        published: the column of the paper's Table 1 that it is set beside; null: none.
    """

    llm: Name
    setting: Setting
    protocol: ProtocolName = "conversation"
    prompt: Name | None = None
    repeats: Repeats = (1,)
    title: str | None = Field(None, min_length=1)
    published: Setting | None = None

    @field_validator("prompt")
    @classmethod
    def _a_setting_is_none(cls, prompt: str | None) -> str | None:
        if prompt in get_args(Setting):
            raise ValueError("a setting is no prompt; leave `prompt` out for the task's own")
        return prompt

    @model_validator(mode="after")
    def _completions_have_their_own(self) -> GeneratedCorpus:
        if self.prompt and self.protocol == "completion":
            raise ValueError("`prompt` changes the requests of conversations, and completions have none; leave it out")
        return self

    @property
    def conditions(self) -> str:
        """How recordings and the response log call what it was written under: its prompt, or else its setting."""
        return self.prompt or self.setting


class ImportedCorpus(Settings):
    """Texts from a CSV, JSON Lines or Parquet file, whoever wrote them; the file stays where it is.

    Attributes:
        file: absolute, or below the data folder or the project; `{task}` in it stands for the task's name.
        rows: {column: value or values}; only rows that have them belong to the corpus.
        written_by: who wrote the texts, as every table and figure will say.
        title, published: as of a generated corpus.
    """

    file: str = Field(min_length=1)
    rows: dict[str, Any] = {}
    text_column: str = "text"
    label_column: str = "label"
    written_by: str | None = Field(None, min_length=1)
    title: str | None = Field(None, min_length=1)
    published: Setting | None = None


class LabelledCorpus(Settings):
    """Real texts of the train split under the labels of an LLM, as many of each label; no text is kept.

    Attributes:
        labels: `labels`, which the package has, or a folder with `<task>.csv`, or a file (columns item_id, label):
            absolute, or below the data folder or the project; `{task}` in it stands for the task's name.
        labelled_by: who gave them; null: as `labels.yaml` says beside them.
        title, published: as of a generated corpus.
    """

    labels: str = Field(min_length=1)
    labelled_by: str | None = Field(None, min_length=1)
    title: str | None = Field(None, min_length=1)
    published: Setting | None = None


class PooledCorpus(Settings):
    """Texts of several corpora of the profile: every draw takes as many of each as of the others, to within one.

    Attributes:
        pool: the corpora, which are no pools themselves.
        title, published: as of a generated corpus.
    """

    pool: Names = Field(min_length=2)
    title: str | None = Field(None, min_length=1)
    published: Setting | None = None


def _kind_of_corpus(value: Any) -> str:
    for kind, key in (("labelled", "labels"), ("imported", "file"), ("pooled", "pool")):
        if key in value if isinstance(value, dict) else hasattr(value, key):
            return kind
    return "generated"


CorpusSettings = Annotated[
    Annotated[GeneratedCorpus, Tag("generated")]
    | Annotated[ImportedCorpus, Tag("imported")]
    | Annotated[LabelledCorpus, Tag("labelled")]
    | Annotated[PooledCorpus, Tag("pooled")],
    Discriminator(_kind_of_corpus),
]


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


def encoder_title(encoder: str) -> str:
    """The encoder's name for readers: "MiniLM", or what stands last in the name of a repository or folder."""
    return "MiniLM" if encoder == "minilm" else encoder.partition("@")[0].rstrip("/").rpartition("/")[2]


class Classifier(Settings):
    """What all classifiers have; none of it changes what one run computes."""

    seeds: Seeds | None = Field(None, description="null: the grid's")
    seeds_per_recording: Seeds | None = Field(
        None, description="of corpora that were recorded several times, for each recording; null: as of other corpora"
    )
    tasks: Names | None = Field(
        None, min_length=1, description="the tasks of the grid that it is trained on; null: all"
    )


class TfidfSettings(Classifier):
    """Logistic regression on tf-idf of words and word pairs."""

    kind: Literal["tfidf"]
    inverse_regularisation: float = Field(10.0, gt=0)

    @property
    def title(self) -> str:
        return "logistic regression on tf-idf"


class ProbeSettings(Classifier):
    """Logistic regression on frozen sentence embeddings."""

    kind: Literal["probe"]
    encoder: str = "minilm"
    inverse_regularisation: float = Field(3.0, gt=0)

    @property
    def title(self) -> str:
        return f"logistic regression on {encoder_title(self.encoder)} embeddings"


class FinetuneSettings(Classifier):
    """Fine-tuning of an encoder with a classification head."""

    kind: Literal["finetune"]
    encoder: str = "minilm"
    learning_rate: float = Field(5e-5, gt=0)
    batch_size: int = Field(64, ge=1)
    epochs: int = Field(10, ge=1)
    patience: int = Field(2, ge=1, description="epochs without a better validation score before stopping")
    max_tokens: int = Field(256, ge=8)
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the steps in which the learning rate rises")
    weight_decay: float = Field(0.01, ge=0)
    attention_dropout: float | None = Field(
        None, ge=0, lt=1, description="null: the encoder's own; 0 is about twice as fast for long texts on a CPU"
    )
    validation_texts: int = Field(
        500, ge=0, description="at most so many, to choose the epoch; 0: all epochs are trained and the last is kept"
    )
    head: Literal["probe"] | None = Field(
        None,
        description="null: the encoder's own, which starts at random; probe: one layer that starts as a logistic "
        "regression on the encoder's embeddings",
    )
    members: int = Field(
        1, ge=1, description="fine-tunings of different seeds whose probabilities are averaged: a deep ensemble"
    )

    @property
    def title(self) -> str:
        several = f", {self.members} averaged" if self.members > 1 else ""
        return f"{encoder_title(self.encoder)} fine-tuned{'' if self.head else ', own head'}{several}"


ClassifierSettings = Annotated[TfidfSettings | ProbeSettings | FinetuneSettings, Field(discriminator="kind")]


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

    @model_validator(mode="after")
    def _further_runs_are_of_known_classifiers(self) -> TrainingSettings:
        for key in ("curve", "augmentation", "decision"):
            further: FurtherRuns | None = getattr(self, key)
            for name in (*(further.classifiers or ()), *further.seeds) if further else ():
                if name not in self.classifiers:
                    raise unknown(f"classifier of training.{key}", name, list(self.classifiers))
        return self

    def seeds_of(self, classifier: str, recordings: int = 1, comparison: Comparison | None = None) -> tuple[int, ...]:
        """The seeds of each recording of a corpus that has so many, in a comparison."""
        if comparison and comparison.seeds:
            return comparison.seeds
        settings = self.classifiers[classifier]
        return (settings.seeds_per_recording if recordings > 1 else None) or settings.seeds or self.seeds

    def further(self, asked: FurtherRuns, task: str) -> TrainingSettings:
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
    llms: dict[Name, LLMSettings] = {}
    corpora: dict[Name, CorpusSettings] = {}
    comparisons: dict[Name, Comparison] = {}
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
    def _it_has_tasks(self) -> Profile:
        if not self.tasks and not self.own_files:
            raise self._refusal("'tasks' is empty; name one at least")
        return self

    @model_validator(mode="after")
    def _names_are_known(self) -> Profile:
        for name, meaning in {REAL: "the train split of each task", "examples": "the examples in a mix"}.items():
            if name in self.corpora:
                raise self._refusal(f"'{name}' is {meaning} and cannot be another corpus")
        for name, corpus in self.corpora.items():
            if isinstance(corpus, GeneratedCorpus) and corpus.llm not in self.llms:
                raise unknown(f"llm of corpus {name}", corpus.llm, self.llms)
            if isinstance(corpus, GeneratedCorpus) and corpus.protocol == "completion":
                self._check_completes(name, corpus.llm)
            if isinstance(corpus, PooledCorpus):
                unpooled = [one for one, about in self.corpora.items() if not isinstance(about, PooledCorpus)]
                for member in set(corpus.pool) - set(unpooled):
                    raise unknown(f"corpus in pool {name}", member, unpooled)
        known = [REAL, *self.corpora]
        asked = {f"corpus of comparison {name}": one.members for name, one in self.comparisons.items()}
        if self.training.augmentation:
            asked["corpus of training.augmentation"] = (self.training.augmentation.corpus,)
        if decision := self.training.decision:
            asked["corpus of training.decision"] = (*decision.corpora, *filter(None, [decision.labels]))
        for where, names in asked.items():
            for name in names:
                if name not in known:
                    raise unknown(where, name, known)
        for name in decision.corpora if decision else ():
            if not isinstance(self.corpora.get(name), GeneratedCorpus):
                raise self._refusal(
                    f"'{name}' in training.decision.corpora is not generated, so nobody knows how many real labels it "
                    "has spent"
                )
        if decision and decision.labels and not isinstance(self.corpora.get(decision.labels), LabelledCorpus):
            raise self._refusal(f"'{decision.labels}' in training.decision.labels is no corpus of an LLM's labels")
        for name, comparison in self.comparisons.items():
            for classifier in comparison.classifiers or ():
                if classifier not in self.training.classifiers:
                    raise unknown(f"classifier of comparison {name}", classifier, list(self.training.classifiers))
        return self

    def _check_completes(self, corpus: str, llm: str) -> None:
        if isinstance(self.llms[llm], OpenAISettings):
            raise self._refusal(
                f"corpus '{corpus}' has the protocol completion, and llm '{llm}' is an endpoint, which holds "
                "conversations; leave `protocol` out, or take an LLM with the backend transformers"
            )

    @model_validator(mode="after")
    def _recordings_stay_as_they_are(self) -> Profile:
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

    def without(self, corpora: Collection[str]) -> Profile:
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

    def changed(self, overrides: dict[str, Any]) -> Profile:
        """This profile with some keys set anew, for example {"training.seeds": [0]}."""
        return build_profile(self.model_dump(mode="json"), overrides)


class _YamlLoader(yaml.SafeLoader):
    """The safe loader, which refuses a key that stands twice, and what would grow beyond MOST_VALUES by its aliases."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._sizes: dict[int, int] = {}  # {node: values in it, those of aliases counted each time}

    def compose_node(self, parent: Any, index: Any) -> Any:
        is_alias = self.check_event(yaml.AliasEvent)
        node = super().compose_node(parent, index)
        if not is_alias:
            values = node.value if isinstance(node, yaml.CollectionNode) else ()
            children = [child for value in values for child in (value if isinstance(value, tuple) else (value,))]
            self._sizes[id(node)] = 1 + sum(self._sizes[id(child)] for child in children)
        if self._sizes.get(id(node), MOST_VALUES + 1) > MOST_VALUES:  # an alias within what it names has no size yet
            raise yaml.YAMLError(f"its aliases (*) make it more than {MOST_VALUES} values")
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:
        node, seen = super().compose_mapping_node(anchor), set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if (key.tag, key.value) in seen:
                raise yaml.YAMLError(f"the key '{key.value}' stands there twice (line {key.start_mark.line + 1})")
            seen.add((key.tag, key.value))
        return node


def load_yaml(text: str) -> Any:
    """The value of a YAML text, by the safe loader.

    Raises:
        yaml.YAMLError: it is none, or too large or too deep to be a setting.
    """
    loader = _YamlLoader(text)
    try:
        return loader.get_single_data()
    except RecursionError as error:
        raise yaml.YAMLError("it is nested too deeply") from error
    finally:
        loader.dispose()


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping from a file, see `load_yaml`."""
    try:
        values = load_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:
        raise SynthgapError(f"'{path.name}' is no valid YAML: {' '.join(str(error).split())}") from error
    except OSError as error:
        raise SynthgapError(f"'{path.name}' cannot be read: {error.strerror}") from error
    if not isinstance(values, dict):
        found = "nothing" if values is None else type(values).__name__
        raise SynthgapError(f"'{path.name}' must hold keys and values, not {found}")
    return values


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
