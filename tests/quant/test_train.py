"""Training: reproducible, resumable after a kill, and able to learn."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

from fireflow.hw.errors import InputError
from fireflow.quant.calibrate import pixel_batches, quantize
from fireflow.quant.checkpoint import CHECKPOINT, save_checkpoint
from fireflow.quant.decoded import DecodedImages
from fireflow.quant.loss import Loss
from fireflow.quant.networks import architecture
from fireflow.quant.networks.squeezenet import FireWidths, SqueezeNet
from fireflow.quant.onnx_teacher import OnnxTeacher
from fireflow.quant.precision import PRESETS
from fireflow.quant.processes import open_fabric
from fireflow.quant.recipe import Recipe, recipe_of
from fireflow.quant.train import Share, batch_of, crop_size, draw_batch, schedule, train
from tests.quant.classifiers import colours

NARROW = tuple(FireWidths(8, 8, 8) for _ in range(8))
SIZE = 32


def network(quantized: bool = True) -> SqueezeNet:
    torch.manual_seed(1)  # many others kill a narrow network: no picture would change its scores
    spec = architecture("squeezenet1_1", input_size=SIZE, num_classes=3, stem_channels=8, fires=NARROW)
    net = SqueezeNet(spec)
    for connection in net.connections():
        nn.init.kaiming_normal_(connection.conv.weight)
    with torch.no_grad():
        net.conv1.weight /= 60  # pixels are no unit normals
        assert net.conv10.bias is not None
        net.conv10.bias.fill_(1.0)
    net.pixel_offset = torch.full((1, 3, 1, 1), 120.0)
    return (
        quantize(net, PRESETS["w4a4"], list(pixel_batches(torch.from_numpy(pictures().images.images))))
        if quantized
        else net
    )


def pictures(labelled: bool = True) -> Share:
    """Three classes that differ in colour."""
    random = np.random.default_rng(0)
    labels = np.arange(30) % 3
    images = random.integers(0, 100, (30, SIZE, SIZE, 3), dtype=np.uint8)
    images[np.arange(30), :, :, labels] += 150
    names = tuple(str(i) for i in range(30))
    return Share(DecodedImages(images, names, labels if labelled else None, (), ()))


RECIPE = Recipe(steps=12, batch_size=4, distillation=0.0, checkpoint_every=3, learning_rate=1e-2)


def run(folder: Path, recipe: Recipe = RECIPE, quantized: bool = True) -> dict[str, torch.Tensor]:
    torch.set_num_threads(1)  # how a sum is split among threads shows in its last bit
    net = train(network(quantized), [], [pictures()], recipe, folder, devices=1, accelerator="cpu")
    return {name: tensor.clone() for name, tensor in net.named_parameters()}


def batch(
    data: list[Share], recipe: Recipe, step: int = 0, rank: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    return batch_of(draw_batch(data, recipe, step, rank), recipe, SIZE, torch.device("cpu"))


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    for name, tensor in one.items():
        np.testing.assert_array_equal(tensor.detach(), other[name].detach(), err_msg=name)


def test_same_seed_same_weights(tmp_path: Path) -> None:
    first = run(tmp_path / "a")
    assert_same(first, run(tmp_path / "b"))
    other = run(tmp_path / "c", RECIPE.model_copy(update={"seed": 1}))
    assert not torch.equal(first["conv10.weight"], other["conv10.weight"])


def test_the_start_has_its_share_of_the_result(tmp_path: Path) -> None:
    start = dict(network(quantized=False).named_parameters())
    trained = run(tmp_path / "a", quantized=False)
    mixed = run(tmp_path / "b", RECIPE.model_copy(update={"start_share": 0.25}), quantized=False)
    assert not torch.equal(trained["conv1.weight"], start["conv1.weight"])
    for name, weight in mixed.items():
        torch.testing.assert_close(weight, 0.75 * trained[name] + 0.25 * start[name].detach())
    written = (tmp_path / "a" / CHECKPOINT).stat().st_mtime_ns
    again = run(tmp_path / "a", RECIPE.model_copy(update={"start_share": 0.25}), quantized=False)
    assert_same(again, mixed)
    assert (tmp_path / "a" / CHECKPOINT).stat().st_mtime_ns == written, "it trained again"
    with pytest.raises(InputError, match="start-share: integers have no mean"):
        run(tmp_path / "c", RECIPE.model_copy(update={"start_share": 0.25}))


KILLED = """
    import sys
    sys.path[:0] = [{tests!r}, {root!r}]
    import fireflow.quant.train, os, signal
    from pathlib import Path
    from test_train import run
    from fireflow.quant.recipe import Precision, Recipe
    save = fireflow.quant.train.save_checkpoint
    def save_then_die(folder, model, optimizer, average, step, recipe):
        save(folder, model, optimizer, average, step, recipe)
        if step == 6:
            os.kill(os.getpid(), signal.SIGKILL)
    fireflow.quant.train.save_checkpoint = save_then_die
    run(Path({folder!r}), Recipe.model_validate_json({recipe!r}))
"""


@pytest.mark.parametrize("average", [0.0, 0.75])
def test_a_killed_run_resumes_to_the_same_weights(tmp_path: Path, average: float) -> None:
    recipe = RECIPE.model_copy(update={"average": average})
    whole = run(tmp_path / "whole", recipe)
    tests = Path(__file__).parent
    code = textwrap.dedent(KILLED).format(
        tests=str(tests),
        root=str(tests.parents[1]),
        folder=str(tmp_path / "killed"),
        recipe=recipe.model_dump_json(),
    )
    killed = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (tmp_path / "killed" / CHECKPOINT).is_file()
    assert_same(whole, run(tmp_path / "killed", recipe))


def test_a_kill_while_a_checkpoint_is_written_keeps_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fireflow.quant.checkpoint

    run(tmp_path, RECIPE.model_copy(update={"steps": 3}))
    before = (tmp_path / CHECKPOINT).read_bytes()

    def cut(tensors: object, path: Path, metadata: object) -> None:
        Path(path).write_bytes(before[: len(before) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr(fireflow.quant.checkpoint, "save_file", cut)
    net = network()
    optimizer = torch.optim.Adam(net.parameters())
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path, net, optimizer, AveragedModel(net), 1, RECIPE)
    assert (tmp_path / CHECKPOINT).read_bytes() == before
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == [CHECKPOINT]


def test_a_checkpoint_of_an_earlier_version_is_resumed(tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"steps": 3})
    whole, path = run(tmp_path, recipe), tmp_path / CHECKPOINT
    with safe_open(path, framework="pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    known = json.loads(metadata["recipe"])
    del known["crop_size"]
    save_file(tensors, path, metadata={**metadata, "recipe": json.dumps(known)})
    written = path.stat().st_mtime_ns
    assert_same(whole, run(tmp_path, recipe))
    assert path.stat().st_mtime_ns == written, "it trained again"


def test_other_recipe_and_damaged_checkpoint_are_refused(tmp_path: Path) -> None:
    run(tmp_path, RECIPE.model_copy(update={"steps": 3}))
    with pytest.raises(InputError, match="must be of the same recipe"):
        run(tmp_path, RECIPE)
    path = tmp_path / CHECKPOINT
    known, newer = rb"\"first_size\":", rb"\"later_size\":"
    assert known in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(known, newer))
    with pytest.raises(InputError, match="must be of the same recipe"):
        run(tmp_path, RECIPE.model_copy(update={"steps": 3}))
    path.write_bytes(path.read_bytes().replace(newer, known))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="must be a whole checkpoint"):
        run(tmp_path, RECIPE.model_copy(update={"steps": 3}))


@pytest.mark.parametrize("quantized", [False, True])
def test_it_learns(tmp_path: Path, quantized: bool) -> None:
    recipe = RECIPE.model_copy(update={"steps": 100, "batch_size": 8})
    net = network(quantized)
    share = pictures()
    pixels = torch.from_numpy(share.images.images).permute(0, 3, 1, 2).float()
    labels = torch.from_numpy(share.images.labels)
    train(net, [], [share], recipe, tmp_path, devices=1, accelerator="cpu")
    assert nn.functional.cross_entropy(net(pixels), labels) < 0.7  # 1.1 is chance


@pytest.mark.parametrize("more", [{}, {"features": 1.0, "mixup": 0.5}, {"first_size": 32}, {"crop_size": 48}])
def test_distillation_needs_only_pictures(tmp_path: Path, more: dict[str, float]) -> None:
    recipe = RECIPE.model_copy(update={"distillation": 1.0, "steps": 30, **more})
    teacher, student = network(quantized=False).eval(), network()
    pixels = torch.from_numpy(pictures().images.images).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        before = (student(pixels) - teacher(pixels)).square().mean()
        train_args = (student, [teacher], [pictures(labelled=False)], recipe, tmp_path)
    train(*train_args, devices=1, accelerator="cpu")
    with torch.no_grad():
        assert (student(pixels) - teacher(pixels)).square().mean() < before


def logged_loss(folder: Path) -> float:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return float(events.Scalars("loss")[-1].value)


@pytest.mark.timeout(600)  # compiles for minutes where every core is busy
def test_a_compiled_step_is_that_of_brevitas(tmp_path: Path) -> None:
    recipe = Recipe(steps=1, batch_size=4, features=1.0, mixup=0.5, learning_rate=1e-2)
    trained = {}
    for compiled in (False, True):
        student, teacher = network(), network(quantized=False)
        chosen, folder = recipe.model_copy(update={"compile": compiled}), tmp_path / str(compiled)
        train(student, [teacher], [pictures(labelled=False)], chosen, folder, 1, "cpu")
        trained[compiled] = dict(student.named_parameters())
    wanted, found = logged_loss(tmp_path / "False"), logged_loss(tmp_path / "True")
    assert wanted > 0.01
    assert found == pytest.approx(wanted, rel=1e-4)
    head = trained[True]["conv10.weight"]
    torch.testing.assert_close(head, trained[False]["conv10.weight"])
    assert not torch.equal(head, network().conv10.weight)


def test_what_a_run_needs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="distillation: needs a teacher, not none"):
        train(network(), [], [pictures()], Recipe(), tmp_path)
    with pytest.raises(InputError, match="features: need a SqueezeNet to take maps from"):
        train(network(), [], [pictures()], RECIPE.model_copy(update={"features": 1.0}), tmp_path)
    teacher = OnnxTeacher(colours(tmp_path / "colours.onnx"))
    with pytest.raises(InputError, match="must have the 3 classes of the network, not 4"):
        train(network(), [], [pictures()], Recipe(), tmp_path, others=[teacher])
    with pytest.raises(InputError, match="data: cross-entropy needs labels"):
        train(network(), [], [pictures(labelled=False)], RECIPE, tmp_path)


def test_any_classifier_can_teach(tmp_path: Path) -> None:
    teacher = OnnxTeacher(colours(tmp_path / "colours.onnx", classes=3))
    student, pixels = network(), torch.from_numpy(pictures().images.images).permute(0, 3, 1, 2).float()
    wanted = teacher.scores(pixels).softmax(1)
    with torch.no_grad():
        before = (student(pixels).softmax(1) - wanted).abs().mean()
    recipe = RECIPE.model_copy(
        update={"distillation": 1.0, "steps": 100, "batch_size": 8, "temperature": 1.0}
    )
    train_args = (student, [], [pictures(labelled=False)], recipe, tmp_path)
    train(*train_args, devices=1, accelerator="cpu", others=[teacher])
    with torch.no_grad():
        assert (student(pixels).softmax(1) - wanted).abs().mean() < 0.75 * before


def test_compiling_needs_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(
        InputError, match="compile: needs a C\\+\\+ compiler, and no-such-compiler is not installed"
    ):
        train(network(), [], [pictures()], RECIPE.model_copy(update={"compile": True}), tmp_path)


def test_training_needs_a_device_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(InputError, match="accelerator: torch must see a cuda device, and it sees none"):
        open_fabric("cuda")
    with pytest.raises(InputError, match="accelerator: must be cpu, cuda, mps or auto, not 'tpu'"):
        open_fabric("tpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for accelerator in ("cuda", "auto"):
        with pytest.raises(InputError, match="devices: must be at most the 2 of cuda that are here, not 3"):
            open_fabric(accelerator, devices=3)


def test_processes_of_a_cpu_are_no_more_than_its_cores() -> None:
    cores = os.cpu_count() or 1
    with pytest.raises(
        InputError, match=f"devices: must be at most the {cores} of cpu that are here, not {cores + 1}"
    ):
        open_fabric("cpu", devices=cores + 1)


def test_settings_outside_their_rule_are_no_recipe() -> None:
    with pytest.raises(ValidationError, match="precision"):
        Recipe.model_validate({"precision": "16-mixed"})
    with pytest.raises(
        InputError, match="precision: Input should be '32-true' or 'bf16-mixed', not '16-mixed'"
    ):
        recipe_of({"precision": "16-mixed"})
    with pytest.raises(InputError, match="batch-size: Input should be greater than or equal to 1, not 0"):
        recipe_of({"batch_size": 0})


def test_mixup_has_no_labels(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mixup: blended pictures have no label"):
        train(network(), [], [pictures()], RECIPE.model_copy(update={"mixup": 0.5}), tmp_path)


def test_mixup_blends_its_share_of_a_batch() -> None:
    recipe = Recipe(batch_size=400, seed=5)
    plain = batch([pictures()], recipe)[0]
    mixed = batch([pictures()], recipe.model_copy(update={"mixup": 0.25}))[0]
    changed = (plain != mixed).flatten(1).any(dim=1)
    assert 60 < int(changed.sum()) < 140
    assert torch.equal(mixed, mixed.round())
    assert mixed.min() >= 0
    assert mixed.max() <= 255


def test_tensorboard_log(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert {"loss", "learning_rate"} <= set(events.Tags()["scalars"])
    assert [e.step for e in events.Scalars("loss")] == [10, 12]


def test_schedule_rises_then_falls_to_nothing() -> None:
    factors = [schedule(step, Recipe(steps=200)) for step in range(200)]
    assert factors[0] < factors[5] == pytest.approx(1.0)
    assert factors[6:] == sorted(factors[6:], reverse=True)
    assert factors[-1] < 1e-3


def test_batches_follow_the_shares() -> None:
    data = [pictures(), Share(pictures(labelled=False).images, 3.0)]
    recipe = Recipe(batch_size=400, seed=5)
    pixels, labels = batch(data, recipe)
    assert pixels.shape == (400, 3, SIZE, SIZE)
    assert 60 < int((labels >= 0).sum()) < 140
    again, _ = batch(data, recipe)
    assert torch.equal(pixels, again)
    assert not torch.equal(pixels, batch(data, recipe, step=1)[0])
    assert not torch.equal(pixels, batch(data, recipe, rank=1)[0])


def test_crops_grow_to_the_input_size() -> None:
    recipe = Recipe(steps=90, first_size=128)
    sides = [crop_size(recipe, step, 224) for step in range(90)]
    assert sides[0] == 128
    assert sorted(set(sides)) == [128, 160, 192, 224]
    assert sides == sorted(sides)
    assert sides[77:] == [224] * 13
    assert crop_size(Recipe(), 0, 224) == 224


def test_crops_may_end_smaller_than_the_input() -> None:
    assert {crop_size(Recipe(steps=90, crop_size=176), step, 224) for step in range(90)} == {176}
    growing = Recipe(steps=90, crop_size=192, first_size=128)
    assert sorted({crop_size(growing, step, 224) for step in range(90)}) == [128, 160, 192]


def test_teachers_are_averaged_as_probabilities() -> None:
    student, one, other = (network(quantized=False).eval() for _ in range(3))
    pixels = torch.from_numpy(pictures().images.images[:4]).permute(0, 3, 1, 2).float()
    recipe = Recipe(temperature=1.0)
    found = Loss(student, [one, other], recipe)(pixels, torch.zeros(4))
    with torch.no_grad():
        wanted = (one(pixels).softmax(1) + other(pixels).softmax(1)) / 2
        divergence = (wanted * (wanted.log() - student(pixels).log_softmax(1))).sum(1).mean()
    torch.testing.assert_close(found, divergence)


def test_the_mean_of_the_last_weights_is_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, torch.Tensor]] = []

    def look(folder: Path, model: nn.Module, *rest: object) -> None:
        seen.append({name: tensor.detach().clone() for name, tensor in model.named_parameters()})

    monkeypatch.setattr("fireflow.quant.train.save_checkpoint", look)
    recipe = RECIPE.model_copy(update={"average": 0.5, "checkpoint_every": 1})
    found = run(tmp_path, recipe, quantized=False)
    for name, tensor in found.items():
        mean = torch.stack([weights[name] for weights in seen[6:]]).mean(0)
        torch.testing.assert_close(tensor, mean)
    assert [schedule(step, recipe) for step in (1, 11)] == [1.0, 1.0]
