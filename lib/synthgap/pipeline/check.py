"""Whether a profile has what it needs: everything that is missing or wrong, named at once, before anything runs."""

import os
from collections.abc import Iterator, Mapping
from importlib import import_module
from itertools import chain, product

from synthgap.core.config import GeneratedCorpus, ImportedCorpus, LabelledCorpus, PooledCorpus, Profile
from synthgap.core.errors import noting, refuse
from synthgap.core.files import local_weights
from synthgap.core.paths import base_folder, command
from synthgap.data.imported import read_imported
from synthgap.data.labelled import read_labelled
from synthgap.data.real import RealData, load_real
from synthgap.generation.conversations import begin_conversation, first_number, texts_wanted, turns_needed, under_prompt
from synthgap.llm.backends import connect
from synthgap.llm.logged import LoggedLLM
from synthgap.llm.recorded import RecordedLLM
from synthgap.llm.response_log import ResponseLog, log_file
from synthgap.pipeline.validity import finished_in
from synthgap.tables import left_out
from synthgap.tasks import load_prompt, load_task
from synthgap.tasks.registry import named_tasks, prompt_faults, task_faults
from synthgap.training.embeddings import encoder_source


def check(profile: Profile) -> Iterator[str]:
    """A line on what is there, and then one for each task and each fault in its texts, as they are found.

    A profile may name tasks that are not known.

    Raises:
        SynthgapError: all that is missing or wrong, a line each.
    """
    faults = task_faults(named_tasks(profile)) or prompt_faults(profile)
    real = read_texts(profile, faults)
    check_llms(profile, faults)
    check_packages(profile, faults)
    refuse(faults)
    texts = sum(len(data.frame) for data in real.values())
    where = "on the hub, not looked at" if profile.data.source == "hub" else f"{texts:,} real texts"
    corpora = f"corpora {', '.join(profile.corpora)}" if profile.corpora else "no corpora but real"
    said = f"{profile.folder_name}: all is there ({', '.join(profile.tasks)}: {where}; {corpora})"
    return chain([*left_out(profile), said], _said_of_texts(profile, real), [f"next: {command('run', profile)}"])


def _said_of_texts(profile: Profile, real: Mapping[str, RealData]) -> Iterator[str]:
    from synthgap.your_task.checks import faults_of_task  # imported late, as scikit-learn takes a second

    folder = finished_in("01_generation", profile) / "synthetic"
    for number, (name, data) in enumerate(real.items(), start=1):
        yield f"looking for faults in texts of task '{name}' ({number} of {len(real)})"
        for corpus, faults in faults_of_task(profile, data, folder):
            yield from (f"warning: task '{name}', {corpus}: {sentence}" for sentence in faults["sentence"])


def read_texts(profile: Profile, faults: list[str]) -> dict[str, RealData]:
    """Read every real and imported text; {task: its real texts} of those that are sound, none of them from the hub.

    Args:
        faults: what is wrong is added to it.
    """
    real: dict[str, RealData] = {}
    for name in profile.tasks:
        with noting(faults):
            task = load_task(name)
            if profile.data.source != "hub":
                real[name] = load_real(task, profile)
            elif task.hub is None:
                faults.append(
                    f"task '{name}' names no set on the hub; take its texts from a folder (data.source: folder)"
                )
    for name, corpus in profile.corpora.items():
        for task_name in profile.tasks_of_corpus(name):
            if isinstance(corpus, ImportedCorpus):
                with noting(faults):
                    read_imported(corpus, load_task(task_name), name)
            elif isinstance(corpus, LabelledCorpus):
                with noting(faults):
                    if task_name in real:
                        read_labelled(corpus, real[task_name], name)
            elif isinstance(corpus, PooledCorpus):
                continue  # its corpora are looked at by themselves
            elif corpus.setting == "few_shot" and task_name in real:
                for label in real[task_name].task.labels:
                    with noting(faults):
                        under_prompt(real[task_name], corpus).few_shot_pool(label)
    return real


def check_llms(profile: Profile, faults: list[str]) -> None:
    """Add recordings that are absent or too short, and LLMs that nobody may ask (no key, no budget, no such model).

    An LLM is not checked where the response log has answers of it already, but once one is missing there.
    """
    llms: dict[str, RecordedLLM | LoggedLLM] = {}
    generated = {name: corpus for name, corpus in profile.corpora.items() if isinstance(corpus, GeneratedCorpus)}
    for llm_name, protocol in dict.fromkeys((corpus.llm, corpus.protocol) for corpus in generated.values()):
        with noting(faults):
            llms[llm_name] = llm = connect(profile.llms[llm_name])
            if not ResponseLog.holds_answers(log_file(base_folder(profile)), llm.model):
                llm.check(protocol)
    for name, corpus in generated.items():
        if isinstance(found := llms.get(corpus.llm), RecordedLLM):
            for task_name in profile.tasks_of_corpus(name):
                with noting(faults):
                    _check_recording(profile, corpus, task_name, found, faults)


def _check_recording(
    profile: Profile, corpus: GeneratedCorpus, task_name: str, llm: RecordedLLM, faults: list[str]
) -> None:
    task = load_task(task_name)
    task = task.under(load_prompt(corpus.prompt)) if corpus.prompt else task
    turns = turns_needed(task, texts_wanted(task, profile.generation)) if corpus.protocol == "conversation" else 1
    for recording, label in product(corpus.repeats, task.labels):
        with noting(faults):
            conversation = begin_conversation(task, corpus.setting, label, first_number(recording), corpus.protocol)
            llm.check_turns(conversation, turns if recording == 1 and not corpus.prompt else 1)


def check_packages(profile: Profile, faults: list[str]) -> None:
    """Add packages that are not installed, and encoders that cannot be had."""
    encoders = [getattr(one, "encoder", profile.diversity.encoder) for one in profile.training.classifiers.values()]
    for encoder in dict.fromkeys([profile.diversity.encoder, *encoders]):
        with noting(faults):
            local_weights(encoder_source(encoder))
    if os.environ.get("SYNTHGAP_ADDRESS"):
        with noting(faults):
            import_module("distributed")
