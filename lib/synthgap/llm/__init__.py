"""Who answers: a recording, an endpoint that speaks OpenAI's chat completions, or a model in transformers.

base.py says what is asked and answered, and what every LLM can do; recorded.py replays recordings and makes them;
logged.py is what LLMs that have to be asked share, openai.py and transformers.py are the two kinds of them; batch.py
writes a local model's answers together, packaged.py finds models that packages of PyPI carry.
response_log.py keeps every answer, bounded.py and completions.py read what endpoints send, keys.py keeps keys out of
what is said and stored, budget.py and rate_limits.py hold requests back. parsing.py turns an answer into texts, after
wrapping.py has taken reasoning and template tokens off, and refusals.py knows an LLM that declines. A new kind of LLM
is a module beside openai.py, its settings in core/settings.py, and a line in backends.py.
The room may import data, tasks and core; how conversations go on is generation/'s.
"""

from pathlib import Path

from synthgap.core.config import LLMSettings, LocalSettings, OpenAISettings, shown_endpoint
from synthgap.llm.packaged import packaged
from synthgap.llm.recorded import RecordedLLM, recording_folder


def model_of(settings: LLMSettings) -> str:
    """The model that a profile names, as results name it."""
    if isinstance(settings, OpenAISettings):
        return f"{settings.model} at {shown_endpoint(settings.endpoint)}"
    if isinstance(settings, LocalSettings):
        package = packaged(settings.model)
        return f"{package.title if package else Path(settings.model).name} in transformers"
    return RecordedLLM(recording_folder(settings)).model
