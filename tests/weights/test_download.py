"""Downloads from a real server on the loopback interface: what arrives whole stays, whatever else leaves no trace."""

import dataclasses
import gc
import hashlib
import http.server
import sys
import threading
import time

import pytest
from huggingface_hub import constants

import keras_densenet as kd
from keras_densenet import family
from keras_densenet.weights import catalogue, download
from tests.weights import foreign

# urllib leaves the socket of a connection that timed out to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:.*socket.socket:pytest.PytestUnraisableExceptionWarning")

CONTENT = (foreign.FIXTURES / "tiny_timm.safetensors").read_bytes()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by the first word of the path; counts what it was asked for."""

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.server.asked.append(self.path)
        self.answer(with_body=True)

    def answer(self, with_body):
        how = self.path.split("/")[1]
        if how == "missing" or self.path.startswith("/api/"):
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = {"truncated": CONTENT[:1000], "wrong": CONTENT[:-1] + b"x"}.get(how, CONTENT)
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.send_header("X-Repo-Commit", "a" * 40)
        self.send_header("ETag", f'"{SHA256}"')
        self.end_headers()
        if how == "slow" and with_body:
            self.server.released.wait(20)
        if with_body:
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked, server.released = [], threading.Event()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.released.set()
        server.shutdown()
    gc.collect()  # here, where that warning is expected, instead of in a test after these


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Caches of their own, and no long waits."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(download, "TIMEOUT", 1)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between the hub client's retries
    return tmp_path


def by_url(server, how, hash=f"sha256:{SHA256}"):
    row = catalogue.CHECKPOINTS["torchvision:densenet121"]
    port = server if isinstance(server, int) else server.server_address[1]
    return dataclasses.replace(row, url=f"http://127.0.0.1:{port}/{how}/tiny.safetensors", hash=hash)


def on_hub(server, how, monkeypatch):
    port = server if isinstance(server, int) else server.server_address[1]
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")
    template = f"http://127.0.0.1:{port}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    row = catalogue.CHECKPOINTS["timm:densenet121.ra_in1k"]
    return dataclasses.replace(row, repository=f"{how}/tiny", url=f"http://127.0.0.1:{port}/{how}/tiny")


def closed_port():
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        return server.server_address[1]


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".lock", ".json")]


@pytest.mark.parametrize(
    "hash", [f"sha256:{SHA256}", f"sha256:{SHA256[:8]}", f"md5:{hashlib.md5(CONTENT).hexdigest()}"]
)
def test_good_file_is_fetched_once(server, home, hash):
    row = by_url(server, "good", hash)
    server.asked.clear()
    for _ in range(2):
        assert download.fetch(row) == str(home / "keras" / "models" / "tiny.safetensors")
    assert len(server.asked) == 1
    assert [path.read_bytes() for path in files(home)] == [CONTENT]


def test_damaged_file_in_the_cache_is_fetched_again(server, home):
    path = home / "keras" / "models" / "tiny.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT[:100])
    assert download.fetch(by_url(server, "good")) == str(path)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("truncated", "retrieval incomplete|size|hash"),
        ("wrong", f"does not have the published hash sha256:{SHA256}"),
        ("missing", "404"),
        ("slow", "timed out"),
        ("offline", "refused"),
    ],
)
def test_failed_download_leaves_nothing_and_says_what_to_do(server, home, how, reason):
    row = by_url(closed_port() if how == "offline" else server, how)
    started = time.monotonic()
    with pytest.raises(OSError, match=rf"(?i){reason}.*Fetch it with a browser and give the path") as error:
        download.fetch(row)
    assert time.monotonic() - started < 15
    assert row.url in str(error.value)
    assert str(home / "keras" / "models") in str(error.value)
    assert "\n" not in str(error.value)
    assert files(home) == []


def test_good_file_comes_from_the_hub_once_and_then_offline(server, home, monkeypatch):
    row = on_hub(server, "good", monkeypatch)
    path = download.fetch(row)
    with open(path, "rb") as file:
        assert file.read() == CONTENT
    assert download.fetch(on_hub(closed_port(), "good", monkeypatch)) == path


@pytest.mark.parametrize(
    ("how", "reason"),
    [("wrong", "does not have the hub's SHA-256"), ("missing", "404"), ("offline", "")],
)
def test_failed_download_from_the_hub_leaves_nothing_and_says_what_to_do(server, home, monkeypatch, how, reason):
    row = on_hub(closed_port() if how == "offline" else server, how, monkeypatch)
    with pytest.raises(OSError, match=rf"{reason}.*Fetch it with a browser and give the path") as error:
        download.fetch(row)
    assert row.url in str(error.value)
    assert str(home / "hub") in str(error.value)
    assert [path for path in files(home) if path.parent.name == "blobs" or path.suffix == ".safetensors"] == []


def test_published_weights_load_by_name(server, monkeypatch):
    """The whole way: name, catalogue, download, hash, layout, outputs."""
    tiny = {"blocks": (2, 1), "growth_rate": 4, "stem": "imagenet", "classes": 5, "input_shape": (40, 33, 3)}
    monkeypatch.setitem(family.VARIANTS, "tiny", tiny)
    row = dataclasses.replace(by_url(server, "good"), name="timm:tiny", variant="tiny", classes=5)
    monkeypatch.setitem(catalogue.CHECKPOINTS, row.name, row)
    images, logits = foreign.fixture("tiny_timm")
    for name in ("imagenet", "timm", "timm:tiny"):
        model = kd.create_model("tiny", weights=name, classifier_activation=None, input_shape=(40, 33, 3))
        assert abs(model(images) - logits).numpy().max() < 1e-5


def test_hub_without_its_library_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"keras-densenet\[weights\]"):
        download.fetch(catalogue.CHECKPOINTS["timm:densenet121.ra_in1k"])
