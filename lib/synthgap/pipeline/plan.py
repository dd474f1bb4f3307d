"""What a profile will take before it runs: the LLMs' answers, and training, each estimated from a pilot."""

from synthgap.core.config import Profile
from synthgap.core.paths import base_folder
from synthgap.data.real import load_real
from synthgap.generation.generation_cost import Estimate, estimate_costs, estimates_table
from synthgap.llm.response_log import log_file
from synthgap.pipeline.validity import finished_in
from synthgap.prompting.sample_size import planned
from synthgap.tables import left_out, rounded
from synthgap.tasks import load_task
from synthgap.training.training_time import plan_training


def plan_generation(profile: Profile) -> str:
    """What is missing of the LLMs' answers, and what they will tell of prompts; live LLMs are asked for a few."""
    return "\n".join(filter(None, [_sentences(_estimates(profile)), planned(profile)]))


def plan(profile: Profile) -> str:
    """What generation and training will take, and what the recordings of comparisons on prompts will tell."""
    estimates = _estimates(profile)
    synthetic, runs = (finished_in(stage, profile) for stage in ("01_generation", "02_training"))
    training = plan_training(profile, synthetic / "synthetic", runs / "runs")
    parts = [rounded(estimates_table(estimates), 4).to_string(index=False), _sentences(estimates), training]
    return "\n".join(filter(None, [*left_out(profile), *parts, planned(profile)]))


def _estimates(profile: Profile) -> list[Estimate]:
    real = {name: load_real(load_task(name), profile) for name in profile.tasks}
    return estimate_costs(profile, real, log_file(base_folder(profile)))


def _sentences(estimates: list[Estimate]) -> str:
    return "\n".join(map(str, estimates)) or "LLM: none, no corpus is generated"
