"""Files of this project: who may read them, and which are not read."""

import os
import shutil
import stat

import nbformat
import pandas as pd
import pytest

from synthgap.core.config import LocalSettings
from synthgap.core.errors import SynthgapError
from synthgap.core.files import atomic, open_sqlite, write_json, write_parquet, write_text
from synthgap.llm.backends import connect
from synthgap.pipeline.notebooks import COPIES, keep_copy
from synthgap.tasks import load_profile
from synthgap.training.embeddings import VectorCache, encode, encoder_fingerprint

WRITERS = {
    "text": lambda path: write_text(path, "x"),
    "json": lambda path: write_json(path, {}),
    "parquet": lambda path: write_parquet(path, pd.DataFrame({"a": [1]})),
    "sqlite": lambda path: open_sqlite(path, ["CREATE TABLE a (b)"]).close(),
}


@pytest.fixture
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.fault(
    "Keys and addresses", "the user's umask", "new files and folders have the permissions that it leaves"
)
@pytest.mark.parametrize("umask", [0o077, 0o027, 0o022, 0o002], indirect=True)
def test_files_and_folders_are_as_the_umask_says(umask, tmp_path):
    for name, write in WRITERS.items():
        write(tmp_path / "new" / name)
    assert mode(tmp_path / "new") == 0o777 & ~umask
    for path in (tmp_path / "new").iterdir():
        assert mode(path) & ~(0o666 & ~umask) == 0, path.name
    for name in ("text", "json", "parquet"):
        assert mode(tmp_path / "new" / name) == 0o666 & ~umask


@pytest.mark.fault(
    "Keys and addresses", "exported real texts and caches of their tokens", "they are the owner's alone (0600)"
)
@pytest.mark.parametrize("umask", [0o000, 0o022], indirect=True)
def test_what_real_texts_can_be_read_from_is_the_owners_alone(umask, tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHGAP_CACHE", str(tmp_path / "cache"))
    with VectorCache("tokens", "x", "<i4") as cache:
        cache.put([b"key"], [pd.Series([1, 2]).to_numpy()])
        assert {mode(path) for path in (tmp_path / "cache").glob("*.sqlite*")} == {0o600}
    assert mode(write_text(tmp_path / "a", "x", private=True)) == 0o600
    assert mode(write_json(tmp_path / "a", {}, private=True)) == 0o600


@pytest.mark.parametrize("shown", [True, False])
def test_a_notebook_that_shows_real_texts_is_its_owners_alone(tmp_path, monkeypatch, shown):
    profile = load_profile("demo", {"show_real_texts": shown})
    monkeypatch.setitem(COPIES, "a.ipynb", nbformat.writes(nbformat.v4.new_notebook()))
    keep_copy(profile, tmp_path / "a.ipynb")
    assert (mode(tmp_path / "a.ipynb") == 0o600) == shown


LINKS = {  # as a notebook has it: as its executed copy does
    "03_evaluation.ipynb#table-1": "03_evaluation.ipynb#table-1",
    "11_your_task.ipynb": "../../../notebooks/11_your_task.ipynb",
    "../docs/statistics.md#agreement": "../../../docs/statistics.md#agreement",
    "https://arxiv.org/abs/2310.07849": "https://arxiv.org/abs/2310.07849",
    "#exercises": "#exercises",
}


def test_links_of_an_executed_copy_lead_to_the_same_files(tmp_path, monkeypatch):
    profile, folder = load_profile("recorded"), tmp_path / "outputs" / "recorded" / "notebooks"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(f"[a]({link})") for link in LINKS])
    monkeypatch.setattr("synthgap.pipeline.notebooks.COPIES", {"a.ipynb": nbformat.writes(notebook)})
    for home, found in ((tmp_path, [*LINKS.values()]), (tmp_path / "elsewhere", [*LINKS])):
        monkeypatch.setenv("SYNTHGAP_HOME", str(home))
        keep_copy(profile, folder / "a.ipynb")
        cells = nbformat.read(folder / "a.ipynb", as_version=4).cells
        assert [cell.source for cell in cells] == [f"[a]({link})" for link in found]


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(SynthgapError, match="cannot write"), atomic(tmp_path / "file" / "below"):
        pass
    with pytest.raises(ZeroDivisionError), atomic(tmp_path / "other"):
        1 / 0  # noqa: B018
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.fault(
    "Files of others", "a model whose weights are a pickle (pytorch_model.bin) alone", "it is refused with the way out"
)
@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "consolidated.00.pth"])
def test_a_model_whose_weights_are_a_pickle_alone_is_refused(tmp_path, tiny_bert, name):
    import torch

    folder = shutil.copytree(tiny_bert, tmp_path / "model")
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / name)
    with pytest.raises(SynthgapError, match=f"weights as a pickle \\('{name}'\\)"):
        encoder_fingerprint(str(folder))
    with pytest.raises(SynthgapError, match="weights as a pickle"):
        connect(LocalSettings(backend="transformers", model=str(folder))).check()
    with pytest.raises(SynthgapError, match="cannot be loaded"):
        encode(["a text"], str(folder))
