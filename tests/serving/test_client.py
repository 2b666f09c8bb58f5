import base64
import json
import socket
import threading
import time

import keras
import numpy as np
import pytest
import requests
import tensorflow as tf
from typer.testing import CliRunner

import keras_densenet as kd
from keras_densenet.cli import app
from keras_densenet.serving import connect
from tests.serving.conftest import LABELS
from tests.serving.files import encode
from tests.serving.server import Server

PROTOCOLS = ["rest_url", "grpc_url"]


@pytest.fixture(scope="module")
def server(exported):
    with Server(exported.base, "net", max_bytes=100_000) as running:
        yield running


@pytest.mark.slow
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_pixels_and_files_get_keras_answers(server, exported, protocol, batch_size):
    client = connect(getattr(server, protocol), timeout=20)
    index = np.arange(batch_size) % 4
    files = [encode(pixels) for pixels in exported.pixels[index]]
    found = client.predict("image_bytes", {"image_bytes": files})
    pixels = client.predict("serving_uint8", {"image": exported.pixels[index]})
    assert found["ok"].all()
    for answer in (found, pixels):
        np.testing.assert_allclose(answer["probabilities"], exported.probabilities[index], atol=1e-5)
        assert answer["label"].tolist() == [LABELS[best] for best in exported.probabilities[index].argmax(-1)]
        assert answer["top_labels"].shape == answer["top_scores"].shape == (batch_size, 3)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_bad_image_does_not_fail_its_batch(server, exported, protocol):
    files = [encode(exported.pixels[0]), b"no image", encode(exported.pixels[2])]
    found = connect(getattr(server, protocol)).predict("image_bytes", {"image_bytes": files})
    assert found["ok"].tolist() == [True, False, True]
    assert found["error"].tolist() == ["", "neither JPEG nor PNG", ""]
    assert found["label"][1] == ""
    assert not found["probabilities"][1].any()
    np.testing.assert_allclose(found["probabilities"][::2], exported.probabilities[:3:2], atol=1e-5)


def test_rows_and_columns_of_the_rest_interface_agree(server, exported):
    values = exported.pixels[:2].tolist()

    def ask(body):
        return requests.post(server.rest_url + ":predict", json=body, timeout=20).json()

    rows, columns = ask({"instances": values})["predictions"], ask({"inputs": {"image": values}})["outputs"]
    np.testing.assert_allclose([row["probabilities"] for row in rows], columns["probabilities"])
    assert [row["label"] for row in rows] == columns["label"]


@pytest.mark.slow
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_only_output_has_its_name(exported, tmp_path, protocol):
    front = keras.layers.Rescaling(1 / 255)
    kd.export_saved_model(exported.model, tmp_path, "net", preprocessing=front)
    pixels = exported.pixels.astype("float32")
    with Server(tmp_path, "net") as server:
        url = getattr(server, protocol)
        for address in (url, f"{url}/versions/1"):
            found = connect(address).predict("features", {"image": pixels})
            assert list(found) == ["embedding"]
        rest = requests.post(
            server.rest_url + ":predict", json={"signature_name": "features", "inputs": pixels.tolist()}
        )
    expected = kd.feature_pyramid(exported.model, ["P3"])(pixels / 255)["P3"]
    np.testing.assert_allclose(found["embedding"], np.mean(expected, (1, 2)), atol=1e-5)
    assert isinstance(rest.json()["outputs"], list)  # as the real server answers


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_is_no_number_is_sent_and_comes_back(tmp_path, protocol):
    root, spec = tf.Module(), tf.TensorSpec((None, 2), tf.float32, "image")
    tf.saved_model.save(root, tmp_path / "net/1", signatures=tf.function(lambda image: {"same": image}, [spec]))
    values = np.float32([[np.nan, 1], [np.inf, -np.inf]])
    with Server(tmp_path, "net") as server:
        found = connect(getattr(server, protocol)).predict("serving_default", {"image": values})
    np.testing.assert_array_equal(found["same"], values)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("count", [1, 2])
def test_binary_outputs_come_as_the_bytes_that_they_are(tmp_path, protocol, count):
    def serve(image_bytes):
        return dict(
            list({"thumb_bytes": tf.strings.join([image_bytes, b"\xff\0"]), "text": image_bytes}.items())[:count]
        )

    root, spec = tf.Module(), tf.TensorSpec((None,), tf.string, "image_bytes")
    tf.saved_model.save(root, tmp_path / "net/1", signatures=tf.function(serve, [spec]))
    with Server(tmp_path, "net") as server:
        found = connect(getattr(server, protocol)).predict("serving_default", {"image_bytes": [b"a", b"bc"]})
    assert found["thumb_bytes"].tolist() == [b"a\xff\0", b"bc\xff\0"]
    assert count == 1 or found["text"].tolist() == ["a", "bc"]


@pytest.mark.slow
def test_rows_of_files_come_in_base64(server, exported):
    files = [{"b64": base64.b64encode(encode(pixels)).decode()} for pixels in exported.pixels[:3]]
    for rows in (files, [{"image_bytes": file} for file in files]):
        body = {"signature_name": "image_bytes", "instances": rows}
        found = requests.post(server.rest_url + ":predict", json=body, timeout=20).json()["predictions"]
        np.testing.assert_allclose([row["probabilities"] for row in found], exported.probabilities[:3], atol=1e-5)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_command_prints_the_labels_and_what_is_wrong_with_an_image(server, exported, tmp_path, protocol):
    (tmp_path / "good.png").write_bytes(encode(exported.pixels[0]))
    (tmp_path / "bad.png").write_bytes(b"no image")

    def ask(*names):
        arguments = ["request", getattr(server, protocol), *(str(tmp_path / name) for name in names), "--top", "2"]
        return CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})

    result = ask("good.png")
    assert result.exit_code == 0, result.output
    best = np.argsort(-exported.probabilities[0], kind="stable")[:2]
    told = "  ".join(f"{LABELS[index]} {exported.probabilities[0][index]:.1%}" for index in best)
    assert told in result.output
    both = ask("good.png", "bad.png")
    assert both.exit_code == 1
    assert told in both.output
    assert "neither JPEG nor PNG" in both.output


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_command_takes_folders_and_prints_json_with_whole_names(server, exported, tmp_path, protocol):
    names = ["[red]a.png", "b [edited].png", "c.png"]
    for name, pixels in zip(names, exported.pixels, strict=False):
        (tmp_path / name).write_bytes(encode(pixels))
    (tmp_path / "d.png").write_bytes(b"no image")
    (tmp_path / "notes.txt").touch()
    arguments = ["request", getattr(server, protocol), str(tmp_path), "--batch-size", "3"]
    table = CliRunner().invoke(app, arguments)
    assert table.exit_code == 1
    assert all(str(tmp_path / name) in table.output for name in [*names, "d.png"])
    result = CliRunner().invoke(app, [*arguments, "--json", "--top", "2"])
    assert result.exit_code == 1
    *rows, last = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["image"] for row in rows] == [str(tmp_path / name) for name in names]
    assert last == {"image": str(tmp_path / "d.png"), "error": "neither JPEG nor PNG"}
    for row, expected in zip(rows, exported.probabilities, strict=False):
        best = np.argsort(-expected, kind="stable")[:2]
        assert [answer["label"] for answer in row["predictions"]] == [LABELS[index] for index in best]
        found = [answer["probability"] for answer in row["predictions"]]
        np.testing.assert_allclose(found, expected[best], atol=1e-5)


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_server_that_keeps_silent_is_given_up(scheme):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = connect(f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/net", timeout=0.3)
        started = time.monotonic()
        with pytest.raises(ConnectionError, match="does not answer"):
            client.predict("image_bytes", {"image_bytes": [b""]})
        assert time.monotonic() - started < 10


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("signature", "inputs", "message"),
    [
        ("classify", {"image": np.zeros((1, 19, 16, 3), "float32")}, "signature"),
        ("serving_default", {"image": np.zeros((1, 7, 7, 3), "float32")}, "."),
        ("serving_default", {"pixels": np.zeros((1, 19, 16, 3), "float32")}, "pixels"),
    ],
)
def test_what_the_server_refuses_is_told_in_its_words(server, protocol, signature, inputs, message):
    with pytest.raises(RuntimeError, match=message):
        connect(getattr(server, protocol)).predict(signature, inputs)


def test_a_wrong_type_and_a_request_too_large_are_refused_over_grpc(server):
    client = connect(server.grpc_url)
    with pytest.raises(RuntimeError, match=r"INVALID_ARGUMENT: image must be float32\. Received: float64"):
        client.predict("serving_default", {"image": np.zeros((1, 19, 16, 3))})
    with pytest.raises(RuntimeError, match="RESOURCE_EXHAUSTED"):
        client.predict("image_bytes", {"image_bytes": [bytes(200_000)]})
    with pytest.raises(RuntimeError, match="NOT_FOUND"):
        connect(server.grpc_url + "s").predict("serving_default", {})


def test_an_overloaded_server_is_asked_again_but_not_for_ever(server, exported):
    client = connect(server.rest_url)
    server.unavailable = 2
    assert client.predict("serving_uint8", {"image": exported.pixels})["label"].shape == (4,)
    server.unavailable = 100
    with pytest.raises(RuntimeError, match="answers with 503: overloaded"):
        client.predict("serving_uint8", {"image": exported.pixels})
    assert server.unavailable == 96
    server.unavailable = 0


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/v1/models/net", "grpc://127.0.0.1:9/net"])
def test_a_server_that_is_not_there_is_one_sentence(url):
    with pytest.raises(ConnectionError, match="does not answer"):
        connect(url, timeout=3).predict("image_bytes", {"image_bytes": [b""]})


@pytest.mark.parametrize("url", ["localhost:8500/net", "http://localhost", "ftp://a/b", "http://localhost/v2/net/x"])
def test_a_bad_url_is_refused(url):
    with pytest.raises(ValueError, match="The URL must be like"):
        connect(url)


@pytest.mark.slow
def test_a_new_version_takes_over_while_requests_run(exported, tmp_path):
    front = keras.layers.Rescaling(1 / 255)
    kd.export_saved_model(exported.model, tmp_path, "net", labels=LABELS, preprocessing=front)
    with Server(tmp_path, "net") as server:
        stop, answers, errors = threading.Event(), [], []

        def ask(url):
            client = connect(url)
            while not stop.is_set():
                try:
                    answers.append(client.predict("serving_uint8", {"image": exported.pixels})["label"][0])
                except Exception as error:
                    errors.append(error)

        askers = [threading.Thread(target=ask, args=[url]) for url in (server.rest_url, server.grpc_url)]
        for asker in askers:
            asker.start()
        renamed = [label.upper() for label in LABELS]
        kd.export_saved_model(exported.model, tmp_path, "net", labels=renamed, preprocessing=front)
        end = time.monotonic() + 20
        while not (answers and answers[-1].isupper()) and time.monotonic() < end:
            time.sleep(0.05)
        stop.set()
        for asker in askers:
            asker.join()
        status = connect(server.grpc_url).status()
        new = connect(server.rest_url).predict("serving_uint8", {"image": exported.pixels})
        old = connect(server.rest_url + "/versions/1").predict("serving_uint8", {"image": exported.pixels})
    assert not errors
    assert answers[0].islower()
    assert any(answer.isupper() for answer in answers)  # the very last of them may have been asked before
    assert new["label"][0].isupper()
    assert status == {1: "AVAILABLE", 2: "AVAILABLE"}
    assert old["label"][0].islower()


def test_metadata_name_every_signature(server):
    import grpc
    from tensorflow_serving.apis import get_model_metadata_pb2 as api
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    request = api.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "net"
    with grpc.insecure_channel(server.grpc_url.split("/")[2]) as channel:
        answer = prediction_service_pb2_grpc.PredictionServiceStub(channel).GetModelMetadata(request, timeout=20)
    found = api.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(found)
    assert sorted(found.signature_def) == ["features", "image_bytes", "serving_default", "serving_uint8"]
    assert server.warmed == 4 * 6
