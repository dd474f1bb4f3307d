"""A profile: everything that a run may vary, frozen and checked before anything starts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from synthgap.errors import SynthgapError, unknown

Regime = Literal["real", "zero_shot", "few_shot"]
Setting = Literal["zero_shot", "few_shot"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]


def _each_once(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) != len(seeds):
        raise ValueError("a seed stands there twice")
    return seeds


Seeds = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1), AfterValidator(_each_once)]
SeedsOrByTask = Annotated[
    Annotated[Seeds, Tag("seeds")] | Annotated[dict[Name, Seeds], Tag("by task")],
    Discriminator(lambda value: "by task" if isinstance(value, dict) else "seeds"),
]


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class DataSettings(Settings):
    """Where the real texts come from; the folder itself is named by --data or SYNTHGAP_DATA."""

    source: Literal["bundled", "folder", "hub"]
    test_texts_per_label: int | None = Field(None, ge=1, description="cap on the test split; null: all of it")


class LLMSettings(Settings):
    """The bundled recording answers the conversations."""

    backend: Literal["recorded"] = "recorded"


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
    seed: int | None = Field(None, ge=0, description="sent with each request, one more for each further conversation")
    timeout: float = Field(120, gt=0, description="seconds until a request without an answer is given up")
    attempts: int = Field(6, ge=1, description="how often one request is tried")
    concurrency: int = Field(64, ge=1, le=1000, description="most requests at a time; fewer where it slows")
    requests_per_minute: float | None = Field(None, gt=0)
    tokens_per_minute: float | None = Field(None, gt=0)
    input_price: float | None = Field(None, ge=0, description="per million tokens, in the currency of the budget")
    output_price: float | None = Field(None, ge=0, description="per million tokens")
    budget: float | None = Field(None, ge=0, description="for all runs of one response log together; needs both prices")

    @model_validator(mode="after")
    def _budget_has_prices(self) -> OpenAISettings:
        if self.budget is not None and (self.input_price is None or self.output_price is None):
            raise SynthgapError("llm.budget needs llm.input_price and llm.output_price, or it could not be kept")
        return self

    @property
    def endpoint(self) -> str:
        return self.base_url or "https://api.openai.com/v1"


class LocalSettings(Settings):
    """A causal language model in transformers answers, on this machine, through its chat template."""

    backend: Literal["transformers"]
    model: str = Field(min_length=1, description="a folder, or a name on the hub (name@revision pins it)")
    device: str | None = Field(None, description="for example cpu or cuda:0; null: a GPU where there is one")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    batch_size: int = Field(8, ge=1, description="conversations answered at once")
    temperature: float = Field(1.0, ge=0, le=2, description="0: always the most probable token")
    top_p: float | None = Field(None, gt=0, le=1)
    max_tokens: int = Field(2048, ge=1, description="longest answer; an answer that reaches it is not used")
    seed: int = Field(0, ge=0)
    attempts: int = Field(3, ge=1, description="how often one request is tried")


LiveSettings = OpenAISettings | LocalSettings


class GenerationSettings(Settings):
    settings: tuple[Setting, ...] = ("zero_shot", "few_shot")
    texts_per_label: int | None = Field(None, ge=1, description="texts asked for; null: as each task says")
    near_duplicate: float = Field(90.0, gt=0, le=100, description="similarity in percent from which texts are one")
    conversations: int = Field(1, ge=1, description="held side by side for each label; live LLMs only")
    turns: int = Field(60, ge=1, description="most turns of a label's conversations; live LLMs only")
    pool_share: float | None = Field(
        None, gt=0, le=1, description="few-shot pool's share of the train split; live only"
    )
    examples_per_turn: int | None = Field(None, ge=1, description="few-shot examples of a turn; live LLMs only")
    diversity_prompt: str | None = Field(None, min_length=1, description="what later turns begin with; live LLMs only")
    compare_with: tuple[Name, ...] = Field((), description="profiles that were run, whose LLMs 01 sets beside this one")


class TfidfSettings(Settings):
    """Logistic regression on tf-idf of words and word pairs."""

    kind: Literal["tfidf"]
    inverse_regularisation: float = Field(10.0, gt=0)
    seeds: Seeds | None = None


class ProbeSettings(Settings):
    """Logistic regression on frozen sentence embeddings."""

    kind: Literal["probe"]
    encoder: str = "minilm"
    inverse_regularisation: float = Field(3.0, gt=0)
    seeds: Seeds | None = None


class FinetuneSettings(Settings):
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
    seeds: Seeds | None = None


ClassifierSettings = Annotated[TfidfSettings | ProbeSettings | FinetuneSettings, Field(discriminator="kind")]


class FurtherRuns(Settings):
    """Runs beside the grid, for all or some of its classifiers."""

    classifiers: tuple[Name, ...] | None = Field(None, min_length=1, description="null: all of them")
    seeds: dict[Name, SeedsOrByTask] = Field(
        {}, description="of a classifier, where not the grid's: {finetune: [0]}, or {finetune: {imdb: [0]}} on one task"
    )

    @model_validator(mode="after")
    def _seeds_are_of_known_tasks(self) -> FurtherRuns:
        from synthgap.tasks import known_tasks

        for task in (task for seeds in self.seeds.values() if isinstance(seeds, dict) for task in seeds):
            if task not in known_tasks():
                raise unknown("task of seeds", task, known_tasks())
        return self

    def seeds_of(self, classifier: str, task: str) -> tuple[int, ...] | None:
        """None: the grid's."""
        seeds = self.seeds.get(classifier)
        return seeds.get(task) if isinstance(seeds, dict) else seeds


class CurveSettings(FurtherRuns):
    """Learning curves: the grid again at smaller sizes."""

    texts_per_label: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=1, description="smaller sizes")


class AugmentationSettings(FurtherRuns):
    """Synthetic texts beside real ones; needs the setting few_shot."""

    real_texts_per_label: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        min_length=1, description="growing amounts of real texts that synthetic ones are added to"
    )


class TrainingSettings(Settings):
    regimes: tuple[Regime, ...] = ("real", "zero_shot", "few_shot")
    seeds: Seeds = (0, 1, 2)
    texts_per_label: int | None = Field(None, ge=1, description="cap on the equal size; null: the smallest regime's")
    classifiers: dict[Name, ClassifierSettings] = Field(min_length=1)
    curve: CurveSettings | None = Field(None, description="null: no learning curves")
    augmentation: AugmentationSettings | None = Field(None, description="null: no mixes of real and synthetic texts")

    @model_validator(mode="after")
    def _further_runs_are_of_known_classifiers(self) -> TrainingSettings:
        for key, further in (("curve", self.curve), ("augmentation", self.augmentation)):
            for name in (*(further.classifiers or ()), *further.seeds) if further else ():
                if name not in self.classifiers:
                    raise unknown(f"classifier of training.{key}", name, list(self.classifiers))
        return self

    def seeds_of(self, classifier: str) -> tuple[int, ...]:
        return self.classifiers[classifier].seeds or self.seeds

    def further(self, asked: FurtherRuns, task: str) -> TrainingSettings:
        """These settings with the classifiers that a task's curves or mixes are asked of, each with its seeds there."""
        chosen = asked.classifiers or self.classifiers
        changed = {
            name: self.classifiers[name].model_copy(update={"seeds": asked.seeds_of(name, task) or self.seeds_of(name)})
            for name in chosen
        }
        return self.model_copy(update={"classifiers": changed})


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
    map_texts: int = Field(300, ge=10, description="texts of each regime on a map")
    near_duplicate: float = Field(90.0, gt=0, le=100, description="similarity of letters in percent")
    near_duplicate_cosine: float = Field(0.95, gt=0, le=1, description="similarity of embeddings")


class Profile(Settings):
    """One profile; `configs/<name>.yaml` holds it, and unknown keys are refused."""

    name: Name
    title: str
    tasks: tuple[str, ...] = Field(min_length=1)
    data: DataSettings
    llm: Annotated[LLMSettings | OpenAISettings | LocalSettings, Field(discriminator="backend")] = LLMSettings()
    generation: GenerationSettings = GenerationSettings()
    training: TrainingSettings
    evaluation: EvaluationSettings = EvaluationSettings()
    diversity: DiversitySettings = DiversitySettings()
    show_real_texts: bool = Field(False, description="whether notebooks may show texts of the real sets")

    @model_validator(mode="after")
    def _consistent(self) -> Profile:
        from synthgap.tasks import known_tasks

        for task in self.tasks:
            if task not in known_tasks():
                raise unknown("task", task, known_tasks())
        for name, values in {
            "tasks": self.tasks,
            "training.regimes": self.training.regimes,
            "generation.settings": self.generation.settings,
        }.items():
            if len(set(values)) != len(values):
                raise SynthgapError(
                    f"profile '{self.name}': '{name}' names something twice: {', '.join(map(str, values))}"
                )
        asked = self.generation.model_dump(include={"pool_share", "examples_per_turn", "diversity_prompt"})
        if isinstance(self.llm, LLMSettings) and (
            changed := [name for name, value in asked.items() if value is not None]
        ):
            raise SynthgapError(
                f"profile '{self.name}': generation.{changed[0]} cannot change what was recorded; it needs a live LLM"
            )
        if self.training.augmentation and "few_shot" not in self.generation.settings:
            raise SynthgapError(
                f"profile '{self.name}': training.augmentation mixes in few-shot texts, which generation.settings does "
                "not generate; add few_shot there, or set training.augmentation to null"
            )
        missing = set(self.training.regimes) - {"real"} - set(self.generation.settings)
        if missing:
            raise SynthgapError(
                f"profile '{self.name}': training.regimes asks for {', '.join(sorted(missing))}, "
                "which generation.settings does not generate; add it there"
            )
        return self

    @property
    def stand_in(self) -> bool:
        """Whether the "real" texts are the bundled stand-in, whose figures are evidence of nothing."""
        return self.data.source == "bundled"

    def changed(self, overrides: dict[str, Any]) -> Profile:
        """This profile with some keys set anew, for example {"training.seeds": [0]}."""
        return build_profile(self.model_dump(mode="json"), overrides)


def root() -> Path:
    """The folder of the project: SYNTHGAP_HOME, or the nearest one above with configs/ and notebooks/."""
    if home := os.environ.get("SYNTHGAP_HOME"):
        return Path(home)
    here = Path.cwd()
    for folder in (here, *here.parents, *Path(__file__).resolve().parents):
        if (folder / "configs").is_dir() and (folder / "notebooks").is_dir():
            return folder
    raise SynthgapError(
        f"no synthgap project at or above '{here}': go to its folder, or name it in the variable SYNTHGAP_HOME"
    )


def known_profiles() -> list[str]:
    return sorted(path.stem for path in (root() / "configs").glob("*.yaml"))


def load_profile(name: str, overrides: dict[str, Any] | None = None) -> Profile:
    """The profile `configs/<name>.yaml`, or the YAML file that `name` is a path of.

    Raises:
        SynthgapError: no such profile, or a key or value in it that is not allowed.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else root() / "configs" / f"{name}.yaml"
    if not path.is_file():
        raise unknown("profile", name, known_profiles())
    return build_profile(read_yaml(path), overrides or {}, where=path.name)


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping from a file, by the safe loader."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SynthgapError(f"'{path.name}' is no valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise SynthgapError(f"'{path.name}' must hold keys and values, not {type(values).__name__}")
    return values


def build_profile(values: dict[str, Any], overrides: dict[str, Any], where: str = "profile") -> Profile:
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
            overrides[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise SynthgapError(f"--set {key}: '{value}' is no valid YAML value") from error
    return overrides


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """A pydantic error as one sentence: the key at fault, and what is allowed there."""
    first = error.errors()[0]
    loc = first["loc"]
    if loc[:2] == ("training", "classifiers"):
        loc = (*loc[:3], *loc[4:])  # without the kind, which pydantic adds after the classifier's name
    if loc[:1] == ("llm",) and len(loc) > 1:
        loc = (loc[0], *loc[2:])  # and without the backend
    if loc[:1] == ("training",) and loc[2:3] == ("seeds",):
        loc = (*loc[:4], *loc[5:])  # and without which of the two ways to write seeds
    key = ".".join(map(str, loc))
    if first["type"] == "extra_forbidden":
        parent = _model_at(model, first["loc"][:-1])
        return str(unknown("key", key, parent.model_fields if parent else []))
    message = first["msg"][0].lower() + first["msg"][1:]
    given = "" if first["type"] == "missing" else f" (given: {first['input']!r})"
    more = f"; {error.error_count() - 1} more like it" if error.error_count() > 1 else ""
    return f"'{key}': {message}{given}{more}"


def _model_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel] | None:
    kinds: dict[Any, type[BaseModel]] = {
        **{"tfidf": TfidfSettings, "probe": ProbeSettings, "finetune": FinetuneSettings},
        **{"recorded": LLMSettings, "openai": OpenAISettings, "transformers": LocalSettings},
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
