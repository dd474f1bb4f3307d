"""The kinds of LLMs by the backend that a profile names."""

from synthgap.core.config import LLMSettings, OpenAISettings, RecordedSettings
from synthgap.llm.logged import LoggedLLM
from synthgap.llm.recorded import RecordedLLM, recording_folder
from synthgap.llm.response_log import ResponseLog


def connect(settings: LLMSettings, log: ResponseLog | None = None) -> RecordedLLM | LoggedLLM:
    """The LLM that a profile names; it keeps its answers in the log, which one that is only checked does not need."""
    if isinstance(settings, RecordedSettings):
        return RecordedLLM(recording_folder(settings))
    if isinstance(settings, OpenAISettings):
        from synthgap.llm.openai import EndpointLLM

        return EndpointLLM(settings, log)
    from synthgap.llm.transformers import LocalLLM

    return LocalLLM(settings, log)
