"""What a profile says of one thing: an LLM, a corpus, or a classifier. `config` has them all together."""

from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from synthgap.core.errors import SynthgapError

REAL = "real"  # the corpus that every profile has: the train split of each task
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


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


# ----------------------------------------------------------------------------------------------------------------- LLMs


def shown_endpoint(url: str) -> str:
    """Scheme, host and port of an address; the rest may be a secret, and is neither shown nor stored."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


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
    def _refuse_user_in_url(cls, url: str | None) -> str | None:
        if url and "@" in urlsplit(url).netloc:
            raise SynthgapError(
                f"the base_url of an LLM at {shown_endpoint(url)} names a user or a password before the @; leave them "
                "out: what an endpoint wants to know is sent as its key, from the environment (key_variable)"
            )
        return url

    @field_validator("key_variable")
    @classmethod
    def _refuse_key_itself(cls, name: str) -> str:
        if name.startswith(("sk_", "gsk_")):
            raise SynthgapError("an LLM's key_variable is the name of an environment variable, and not the key itself")
        return name

    @model_validator(mode="after")
    def _refuse_budget_without_prices(self) -> Self:
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


LLMSettings = Annotated[RecordedSettings | OpenAISettings | LocalSettings, Field(discriminator="backend")]


# -------------------------------------------------------------------------------------------------------------- corpora


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
    def _refuse_setting_as_prompt(cls, prompt: str | None) -> str | None:
        if prompt in get_args(Setting):
            raise ValueError("a setting is no prompt; leave `prompt` out for the task's own")
        return prompt

    @model_validator(mode="after")
    def _refuse_prompt_of_completions(self) -> Self:
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


# ---------------------------------------------------------------------------------------------------------- classifiers


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
