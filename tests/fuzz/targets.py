"""Every reader of something that comes from outside, with small inputs of the kind that it takes."""

from __future__ import annotations

import io
import json
import os
import threading
import zipfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import PIL.features
from PIL import Image

from fireflow.hw.bundle import Bundle, Manifest
from fireflow.hw.errors import InputError
from fireflow.hw.files import read_json
from fireflow.hw.graph import Graph
from fireflow.hw.packing import read_arrays
from fireflow.hw.preprocessing import CAFFE, Preprocessing, read_preprocessing
from fireflow.hw.simulator import Simulator
from tests.fuzz import mutators, service_target, tool_targets
from tests.fuzz.target import Target, as_file, scratch
from tests.host.boards import bundle

_SMALL = Preprocessing(size=8, resize=9)


def _bytes_of(write: Callable[[Path], object], name: str) -> bytes:
    path = scratch() / name
    write(path)
    return path.read_bytes()


# --- float weights and models -------------------------------------------------------------------------------


def _weights(ending: str) -> Callable[[bytes], object]:
    def read(data: bytes) -> object:
        from fireflow.quant.pretrained import load_weights

        return load_weights(as_file(f"weights{ending}", data), CAFFE)

    return read


@cache
def _float_seeds(ending: str) -> Sequence[bytes]:
    import safetensors.torch
    import torch

    from tests.host.tiny import write_weights
    from tests.quant.weight_files import LAYER_V1, NARROW, caffemodel, old_blob, onnx_model, random_arrays

    arrays = random_arrays(NARROW)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    if ending == ".caffemodel":
        return (caffemodel(arrays, NARROW), caffemodel(arrays, NARROW, LAYER_V1, old_blob))
    if ending == ".onnx":
        return (onnx_model(arrays, NARROW).SerializeToString(),)
    if ending == ".safetensors":
        return (safetensors.torch.save(tensors),)
    if ending == ".pth":
        whole, nested = io.BytesIO(), io.BytesIO()
        torch.save(tensors, whole)
        torch.save({"state_dict": {f"module.{n}": t for n, t in tensors.items()}, "epoch": 3}, nested)
        return (whole.getvalue(), nested.getvalue())
    return (_bytes_of(write_weights, "w.npz"),)


@cache
def _fireq_seeds() -> Sequence[bytes]:
    from fireflow.quant.model_file import Model, save_model
    from fireflow.quant.networks.squeezenet import SqueezeNet
    from tests.host.tiny import RECORD, SPEC

    network = SqueezeNet(SPEC).eval()
    return (
        _bytes_of(lambda path: save_model(Model(network, RECORD, ("a", "b", "c", "d")), path), "m.fireq"),
    )


def _fireq(data: bytes) -> object:
    from fireflow.quant.model_file import load_model

    return load_model(as_file("model.fireq", data))


def _checked_json(check: Callable[[Any], object]) -> Callable[[bytes], object]:
    def read(data: bytes) -> object:
        return check(read_json(as_file("document.json", data)))

    return read


def _policy(document: Any) -> object:
    from fireflow.quant.networks import architecture
    from fireflow.quant.precision import parse_policy

    return parse_policy("policy.json", document, architecture("squeezenet1_1").layers)


# --- bundles ------------------------------------------------------------------------------------------------


@cache
def _bundle_parts() -> dict[str, bytes]:
    folder = scratch() / "seed.fire"
    bundle().save(folder)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def _bundle_seeds() -> Sequence[bytes]:
    """The files of a bundle in a zip, which is how one input holds several files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in _bundle_parts().items():
            archive.writestr(name, content)
    return (buffer.getvalue(),)


def _bundle_part(data: bytes, draw: Any) -> bytes:
    if data.startswith(b"FIREARR1"):
        return mutators.arrays(data, draw)
    if data.startswith(b"PK"):
        return mutators.member()(data, draw)
    return mutators.json_value(data, draw)


def _load_bundle(data: bytes) -> object:
    """The bundle whose files are the members, sealed so that only what they say can be wrong."""
    import hashlib

    folder = scratch() / "tried.fire"
    folder.mkdir(exist_ok=True)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = {name: archive.read(name) for name in archive.namelist() if name in _bundle_parts()}
    except Exception as error:  # the mutator's own container, not what is tried
        raise InputError(f"container: must be a zip file ({error}); try another") from None
    for name, content in parts.items():
        (folder / name).write_bytes(content)
    for name in set(os.listdir(folder)) - set(parts):
        (folder / name).unlink()
    try:
        manifest = json.loads(parts["manifest.json"])
        for name in parts:
            if name != "manifest.json":
                digest = hashlib.sha256(parts[name]).hexdigest()
                manifest["files"][name] = {"sha256": digest, "size_bytes": len(parts[name])}
        manifest.pop("sha256", None)
        plain = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
        manifest["sha256"] = hashlib.sha256(plain.encode()).hexdigest()
        text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
        (folder / "manifest.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        pass  # no manifest any more: it is tried as it is
    loaded = Bundle.load(folder)
    images = loaded.golden.images[:1]
    return Simulator(loaded.graph).run(images) if len(images) else None


def _graph(data: bytes) -> object:
    graph = Graph.from_json(read_json(as_file("graph.json", data)), dict(_graph_parts()[1]))
    image = np.zeros((1, *graph.input_type.shape), graph.input_type.dtype)
    assert (graph.run(image) == Simulator(graph).run(image)).all(), (
        "both programs must give the same integers"
    )
    return graph


@cache
def _graph_parts() -> tuple[dict[str, Any], dict[str, Any]]:
    return bundle().graph.to_json()


def _graph_seeds() -> Sequence[bytes]:
    return (json.dumps(_graph_parts()[0]).encode(),)


# --- pictures -----------------------------------------------------------------------------------------------

_FORMATS = {
    "png": {}, "jpeg": {}, "gif": {}, "bmp": {}, "tiff": {}, "webp": {"feature": "webp"}, "ppm": {},
    "jpeg2000": {"feature": "jpg_2000"}, "avif": {"feature": "avif"},
}  # fmt: skip


@cache
def _pictures(kind: str) -> Sequence[bytes]:
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (3, 3, 4), np.uint8).repeat(5, 0).repeat(6, 1)
    modes = {"png": ("RGB", "RGBA", "P", "L", "1", "I;16"), "tiff": ("RGB", "CMYK", "F", "L"), "gif": ("P",)}
    seeds = []
    for mode in modes.get(kind, ("RGB",)):
        if mode == "I;16":
            picture = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
        elif mode == "F":
            picture = Image.fromarray(pixels[..., 0].astype(np.float32) / 255)
        else:
            picture = Image.fromarray(pixels, "RGBA").convert(mode)
        buffer = io.BytesIO()
        options = {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"}
        picture.save(buffer, kind, **(options if kind in ("jpeg", "webp") else {}))
        seeds.append(buffer.getvalue())
    return seeds


def _picture(ending: str) -> Callable[[bytes], object]:
    def read(data: bytes) -> object:
        from fireflow.host.pictures import read_picture

        return read_picture(as_file(f"picture.{ending}", data), _SMALL)

    return read


def _archive_seeds() -> Sequence[bytes]:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("images/a.png", _pictures("png")[0])
        archive.writestr("images/b.jpg", _pictures("jpeg")[0])
        archive.writestr(
            "labels.csv", "filename,class_index,wnid,class_name\na.png,0,n01440764,tench\nb.jpg,1,,b\n"
        )
    folders = io.BytesIO()
    with zipfile.ZipFile(folders, "w") as archive:
        archive.writestr("n01440764/a.png", _pictures("png")[0])
        archive.writestr("n02102040/b.png", _pictures("png")[1])
    return (buffer.getvalue(), folders.getvalue())


def _training_archive(data: bytes) -> object:
    from fireflow.quant.data import open_images

    images = open_images(as_file("images.zip", data))
    return [picture.size for _position, picture in images.images()], images.fingerprint()


def _run_archive(data: bytes) -> object:
    from fireflow.host.sources import open_pictures

    return [
        picture.pixels.shape for picture in open_pictures(str(as_file("source.zip", data)), _SMALL, workers=1)
    ]


def _numbers(ending: str) -> Callable[[bytes], object]:
    def read(data: bytes) -> object:
        from fireflow.host.sources import open_pictures

        source = open_pictures(str(as_file(f"images{ending}", data)), _SMALL, workers=1)
        return [picture.pixels.shape for picture in source]

    return read


@cache
def _number_seeds(ending: str) -> Sequence[bytes]:
    images, buffer = np.zeros((2, 9, 9, 3), np.uint8), io.BytesIO()
    if ending == ".npy":
        np.save(buffer, images)
    else:
        np.savez(buffer, images=images)
    return (buffer.getvalue(),)


def _stream(data: bytes) -> object:
    from fireflow.host.streams import StreamStopped, stdin_frames

    with open(as_file("stream", data), "rb") as file:
        try:
            frames = list(stdin_frames(file, threading.Event(), 0.1))
        except StreamStopped as error:
            raise InputError(str(error)) from None
    for frame in frames:  # one that is damaged is told when its turn comes
        if isinstance(frame, InputError):
            raise frame
    return [_SMALL.prepare(frame).shape for frame in frames]


def _stream_seeds() -> Sequence[bytes]:
    jpeg = _pictures("jpeg")[0]
    return (jpeg, b"--x\r\nContent-Type: image/jpeg\r\n\r\n" + jpeg + b"\r\n--x\r\n\r\n" + jpeg)


# --- networks and names of others ----------------------------------------------------------------------------


def _qonnx(data: bytes) -> object:
    from fireflow.hw.finn.convert import to_graph
    from fireflow.hw.finn.lowering import lower

    return to_graph(lower(as_file("net.onnx", data)))


@cache
def _qonnx_seeds() -> Sequence[bytes]:
    from tests.hw.finn.qonnx_builder import valid

    return (valid().model().SerializeToString(),)


_LABEL_SEEDS = (b"a\nb\nc d\n", b"class_index,class_name\n0,a\n1,b\n2,c\n", b'["a","b","c"]')


def _labels(data: bytes) -> object:
    from fireflow.hw.labels import read_labels

    ending = (".txt", ".csv", ".json")[(data[:1] == b"[" and 2) or (data[:5] == b"class" and 1) or 0]
    return read_labels(str(as_file(f"labels{ending}", data)), 3)


# --- all ----------------------------------------------------------------------------------------------------


def _json_target(name: str, check: Callable[[Any], object], *documents: Any) -> Target:
    seeds = tuple(json.dumps(document).encode() for document in documents)
    return Target(name, _checked_json(check), lambda: seeds, mutators.json_value, weight=3)


def _all() -> list[Target]:

    weights = {".caffemodel": mutators.raw, ".onnx": mutators.raw, ".safetensors": mutators.raw}
    weights |= {".pth": mutators.member(), ".npz": mutators.member()}
    targets = [
        Target(
            f"weights{ending}",
            _weights(ending),
            lambda ending=ending: _float_seeds(ending),
            mutate,
            weight=0.3,
        )
        for ending, mutate in weights.items()
    ]
    targets += [
        Target("fireq", _fireq, _fireq_seeds, mutators.arrays, weight=0.3),
        Target("arrays", lambda data: read_arrays(as_file("a.arrays", data)), _fireq_seeds, mutators.arrays),
        Target("bundle", _load_bundle, _bundle_seeds, mutators.member(_bundle_part), weight=0.5),
        Target("graph", _graph, _graph_seeds, mutators.json_value),
        _json_target("manifest", Manifest.from_json, bundle().manifest.to_json()),
        _json_target("preprocessing", Preprocessing.from_json, CAFFE.to_json()),
        _json_target("policy", _policy, {"name": "p", "default": {"weight": 4, "activation": 4}, "layers": {}}),
        Target(
            "preprocessing file", lambda data: read_preprocessing(str(as_file("p.json", data))),
            lambda: (json.dumps(CAFFE.to_json()).encode(),), mutators.json_value,
        ),
    ]  # fmt: skip
    for kind, options in _FORMATS.items():
        if "feature" in options and not PIL.features.check(options["feature"]):
            continue
        mutate = mutators.png if kind == "png" else mutators.raw
        targets.append(Target(kind, _picture("png"), lambda kind=kind: _pictures(kind), mutate))
    targets += [
        Target("training zip", _training_archive, _archive_seeds, mutators.member(mutators.raw)),
        Target("run zip", _run_archive, _archive_seeds, mutators.member(mutators.png), weight=0.3),
        Target("npy", _numbers(".npy"), lambda: _number_seeds(".npy"), weight=0.5),
        Target("npz", _numbers(".npz"), lambda: _number_seeds(".npz"), mutators.member(), weight=0.5),
        Target("mjpeg", _stream, _stream_seeds),
        Target("qonnx", _qonnx, _qonnx_seeds, weight=0.02),
        Target(
            "labels",
            _labels,
            lambda: (b"a\nb\nc d\n", b"class_index,class_name\n0,a\n1,b\n2,c\n", b'["a","b","c"]'),
        ),
        Target("requests", service_target.ask, service_target.seeds, weight=0.3),
    ]
    return [*targets, *tool_targets.TARGETS]


TARGETS: dict[str, Target] = {target.name: target for target in _all()}
