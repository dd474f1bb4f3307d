"""Which comparisons of a profile ask what of prompts, what stands as control, and how many examples were shown."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from synthgap.core.config import Comparison, GeneratedCorpus, Profile
from synthgap.generation.corpora import load_corpus, provenance
from synthgap.tasks import load_prompt
from synthgap.tasks.prompts import PromptVariant

QUESTIONS = {  # {what is asked of prompts: whether a variant belongs to it}
    "examples": lambda variant: bool(variant.examples),
    "guideline": lambda variant: bool(variant.guideline),
    "diversity": lambda variant: variant.diversity is not None or bool(variant.addition),
}


@dataclass(frozen=True)
class Asked:
    """A comparison that asks one of QUESTIONS.

    Attributes:
        like: {variant that belongs to the question: its control}.
        none, most: the zero-shot and the few-shot corpus under the task's own prompts; None: there is none.
    """

    name: str
    comparison: Comparison
    like: dict[str, str]
    none: str | None
    most: str | None

    @property
    def with_examples(self) -> list[str]:
        """The corpora whose LLM saw examples: variants, then the few-shot corpus."""
        return [*self.like, *([self.most] if self.most else [])]

    def gaps(self) -> list[tuple[str, str]]:
        """(corpus, baseline) of all gaps: to the reference, to no examples, and to the most examples."""
        corpora = [one for one in (self.none, *self.like, self.most) if one]
        pairs = [(corpus, self.comparison.reference) for corpus in corpora]
        pairs += [(corpus, self.none) for corpus in corpora if self.none and corpus != self.none]
        return pairs + [(corpus, self.most) for corpus in self.like if self.most]


def first(profile: Profile, question: str) -> Asked | None:
    """The first comparison on prompts that holds a variant of this one of QUESTIONS and its control."""
    for name, comparison in profile.comparisons_on("prompts").items():
        if like := variants(profile, comparison, question):
            own = [plain(profile, comparison, setting) for setting in ("zero_shot", "few_shot")]
            return Asked(name, comparison, like, *own)
    return None


def nothing(question: str) -> str:
    """That a profile asks nothing of this one of QUESTIONS."""
    return f"Nothing on {question}: no comparison of this profile with 'question: prompts' holds such a variant."


def generated(profile: Profile, comparison: Comparison) -> dict[str, tuple[GeneratedCorpus, PromptVariant | None]]:
    """{corpus: its settings and its prompt variant} of a comparison's generated corpora."""
    found = {name: profile.corpora.get(name) for name in comparison.members}
    return {
        name: (corpus, load_prompt(corpus.prompt) if corpus.prompt else None)
        for name, corpus in found.items()
        if isinstance(corpus, GeneratedCorpus)
    }


def variants(profile: Profile, comparison: Comparison, question: str) -> dict[str, str]:
    """{variant: its control} of those that belong to one of QUESTIONS; without a control a variant is left out."""
    found = generated(profile, comparison)
    members = {name: corpus for name, (corpus, variant) in found.items() if variant and QUESTIONS[question](variant)}
    controls = {name: control_of(corpus, profile, comparison) for name, corpus in members.items()}
    return {name: control for name, control in controls.items() if control}


def control_of(corpus: GeneratedCorpus, profile: Profile, comparison: Comparison) -> str | None:
    """The corpus that the same LLM wrote in the same setting under the task's own prompts; None: there is none."""
    for name, (other, variant) in generated(profile, comparison).items():
        if variant is None and (other.llm, other.setting) == (corpus.llm, corpus.setting):
            return name
    return None


def plain(profile: Profile, comparison: Comparison, setting: str) -> str | None:
    """The corpus of a setting under the task's own prompts."""
    found = generated(profile, comparison).items()
    return next((name for name, (one, variant) in found if variant is None and one.setting == setting), None)


def without_control(profile: Profile) -> list[str]:
    """A sentence for each variant that nothing can be said of, since its control is missing."""
    return [
        f"Comparison {name}: '{corpus}' has no control, a corpus of llm '{settings.llm}' and setting "
        f"{settings.setting} without `prompt`; nothing is said of it."
        for name, comparison in profile.comparisons_on("prompts").items()
        for corpus, (settings, variant) in generated(profile, comparison).items()
        if variant and control_of(settings, profile, comparison) is None
    ]


def listed(profile: Profile) -> pd.DataFrame:
    """The variants in comparisons on prompts: columns comparison, corpus, setting, recordings, control, about."""
    rows = [
        (name, corpus, one.setting, len(one.repeats), control_of(one, profile, comparison) or "none", variant.about)
        for name, comparison in profile.comparisons_on("prompts").items()
        for corpus, (one, variant) in generated(profile, comparison).items()
        if variant
    ]
    return pd.DataFrame(rows, columns=["comparison", "corpus", "setting", "recordings", "control", "about"])


def counts(shown: pd.DataFrame) -> dict[str, str]:
    """{corpus: how many different examples of a label} of `examples_shown`, as people read it: "3", "55 to 95"."""
    ends = shown.groupby("corpus", sort=False)["examples"].agg(["min", "max"])
    return {
        str(corpus): f"{low}" if low == high else f"{low} to {high}" for corpus, low, high in ends.itertuples(name=None)
    }


def examples_shown(profile: Profile, folder: Path, comparison: Comparison) -> pd.DataFrame:
    """How many different real examples of a label the LLM saw: columns task, corpus, recording, label, examples.

    Of a corpus's recordings longer ones are left out: only a part of their turns is trained on.

    Args:
        folder: where the synthetic texts are.
    """
    rows = [row for task in profile.tasks_of(comparison) for row in _shown(profile, folder, comparison, task)]
    return pd.DataFrame(rows, columns=["task", "corpus", "recording", "label", "examples"])


def _shown(
    profile: Profile, folder: Path, comparison: Comparison, task: str
) -> Iterator[tuple[str, str, int, str, int]]:
    for corpus in generated(profile, comparison):
        turns = load_corpus(folder, profile, corpus, task).groupby("recording")["turn"].max()
        for one in provenance(folder, corpus, task)["recordings"]:
            if turns[one["recording"]] == turns.min():
                for label, ids in one["example_ids"].items():
                    yield task, corpus, one["recording"], label, len(ids)
