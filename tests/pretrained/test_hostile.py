"""Artifacts from anybody: what is damaged or made to harm is refused with an error of ours, within bounds of memory and time, and nothing of it is run."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from linearizer_core.errors import ArtifactError, LinearizerError
from linearizer_core.operators import Dense, LowRank, Product, load_operator, save_operator
from linearizer_core.pretrained import Pretrained
from linearizer_core.pretrained.budget import BuildBudget

from .saved import PICTURE, small

TENSORS = ("model.safetensors", "operator.safetensors")
JSONS = ("config.json", "metrics.json", "notes.json", "collapse.json", "training.jsonl")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small().save_pretrained(tmp_path_factory.mktemp("saved") / "artifact")


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return shutil.copytree(saved, tmp_path / "artifact")


def refused(folder: Path, message: str) -> None:
    with pytest.raises(ArtifactError, match=message) as caught:
        Pretrained.from_pretrained(folder)
    assert len(str(caught.value)) < 6000


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def put(value: object, *keys: str) -> Callable[[dict[str, Any]], object]:
    def change(values: dict[str, Any]) -> None:
        for key in keys[:-1]:
            values = values.setdefault(key, {})
        values[keys[-1]] = value

    return change


# --- safetensors ----------------------------------------------------------------------------------


def header(content: object, data: bytes = b"", length: int | None = None) -> bytes:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def tensor(shape: list[int], begin: int, end: int, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


UNREADABLE = r"cannot be read as safetensors .*truncated, damaged or a pickle, fetch or save it again"


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", UNREADABLE),
        (b"\x00" * 8, UNREADABLE),
        (header(b"{}", length=101 * 2**20), r"claims a header of 105906176 bytes, expected at most 4194304"),
        (header(b"{}", length=2**63 + 5), r"claims a header of 9223372036854775813 bytes"),
        (header(b"{}", length=2**22), UNREADABLE),
        (header(b"[" * 100_000), UNREADABLE),
        (header(b'{"a":' * 100_000), UNREADABLE),
        (header(b"\xff\xfe{}"), UNREADABLE),
        (header({"a": tensor([1], 0, 4), "b": tensor([1], 2, 6)}, bytes(6)), UNREADABLE),
        (header({"a": tensor([1], 0, 4), "b": tensor([1], 8, 12)}, bytes(12)), UNREADABLE),
        (header({"a": tensor([1], 0, 4)}, bytes(9)), UNREADABLE),
        (header({"a": tensor([2], 0, 4)}, bytes(4)), UNREADABLE),
        (header({"a": tensor([1], 4, 0)}, bytes(4)), UNREADABLE),
        (header({"a": tensor([-1], 0, 4)}, bytes(4)), UNREADABLE),
        (header({"a": tensor([1], 0, 4, "Q99")}, bytes(4)), UNREADABLE),
        (header({"a": tensor([2**60], 0, 4)}, bytes(4)), UNREADABLE),
        (header({"a": tensor([2**40, 2**40], 0, 4)}, bytes(4)), UNREADABLE),
        (header({"a": tensor([2**60, 0], 0, 0)}), r"a has no elements and shape \[1152921504606846976, 0\], expected sides up to 16777216"),
        (header({"a": tensor([0, 2**63], 0, 0)}), r"a has no elements"),
        (header(b'{"a":%b,"a":%b}' % (json.dumps(tensor([1], 0, 4)).encode(), json.dumps(tensor([1], 4, 8)).encode()), bytes(8)), UNREADABLE),
        (header({"__metadata__": {"format": 1}, "a": tensor([1], 0, 4)}, bytes(4)), UNREADABLE),
        (header({"a": tensor([8], 0, 8, "F8_E4M3")}, bytes(8)), r"does not fit its config|has format None"),
        (header({"a": tensor([2], 0, 1, "F4")}, bytes(1)), r"does not fit its config|has format None"),
        (header({f"{k}": tensor([0], 0, 0) for k in range(40_000)}), r"does not fit its config|has format None"),
        (header({"../../escape": tensor([1], 0, 4)}, bytes(4)), r"does not fit its config|has format None"),
    ],
    ids=lambda value: f"{len(value)} bytes" if isinstance(value, bytes) else "",
)
def test_files_that_claim_what_they_do_not_hold_are_refused(folder: Path, name: str, content: bytes, message: str) -> None:
    (folder / name).write_bytes(content)
    refused(folder, rf"{re.escape(name)}\b.*({message})")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused_and_not_saved(folder: Path, value: float) -> None:
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name, parameter in Pretrained.from_pretrained(folder).model.named_parameters() if parameter.numel() > 1)
    tensors[name].view(-1)[1] = value
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    refused(folder, rf"1 of \d+ numbers of {re.escape(name)} are not finite: training diverged, or the file is damaged")
    diverged = small()
    with torch.no_grad():
        dict(diverged.model.named_parameters())[name].view(-1)[1] = value
    with pytest.raises(ArtifactError, match="are not finite: training diverged"):
        diverged.save_pretrained(folder.parent / "new")


@pytest.mark.parametrize(
    ("tensors", "metadata", "message"),
    [
        ({"values": torch.ones(4, dtype=torch.int64)}, {"format": "1", "kind": "diagonal"}, r"the model needs \(4, 4\) in torch.float32"),
        ({"values": torch.ones(4).to(torch.float8_e4m3fn)}, {"format": "1", "kind": "diagonal"}, r"the model needs \(4, 4\) in torch.float32"),
        ({"values": torch.ones(4)}, {"format": "1", "kind": "os.system"}, r"unknown kind 'os.system'"),
        ({"values": torch.ones(4)}, {"format": "9" * 5000, "kind": "diagonal"}, r"has format '9{90,99}.{0,3}, expected format 1"),
        ({"scale": torch.ones(()), "dim": torch.tensor(2**62)}, {"format": "1", "kind": "scaled_identity"}, r"the model needs \(4, 4\)"),
        ({"scale": torch.ones(()), "dim": torch.ones(0)}, {"format": "1", "kind": "scaled_identity"}, r"operator.safetensors"),
        ({"0:" * 3000 + "x": torch.ones(4)}, {"format": "1", "kind": "sum"}, r"operator.safetensors"),
        ({"0:sum." * 1000 + "x": torch.ones(4)}, {"format": "1", "kind": "sum"}, r"operator.safetensors"),
    ],
)
def test_operators_that_are_none_are_refused(folder: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str], message: str) -> None:
    save_file(tensors, folder / "operator.safetensors", metadata=metadata)
    refused(folder, message)


# --- files that are none --------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*TENSORS, *JSONS, "samples.png", "README.md"])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (os.mkfifo, "no regular file"),
        (os.mkdir, "no regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "is a link to /dev/zero, which is outside|no regular file"),
        (lambda path: path.symlink_to(path), "is a link|no regular file|is missing|has no config.json"),
        (lambda path: path.symlink_to(path.parent.parent / "private"), "is a link to .*private, which is outside; put the file itself there"),
    ],
    ids=["pipe", "folder", "device", "loop", "link"],
)
def test_pipes_folders_devices_and_links_out_of_the_folder_are_refused(folder: Path, name: str, make: Callable[[Path], object], message: str) -> None:
    shutil.move(folder / name, folder.parent / "private")
    make(folder / name)
    refused(folder, message)


def test_links_within_the_folder_and_into_the_cache_of_the_hub_are_followed(folder: Path, tmp_path: Path) -> None:
    (folder / "samples.png").rename(folder / "stored.bin")
    (folder / "samples.png").symlink_to("stored.bin")
    repository = tmp_path / "hub" / "models--me--squares"
    snapshot = repository / "snapshots" / "0123abcd"
    shutil.copytree(folder, snapshot, symlinks=True)
    for place, name in ((repository / "blobs", "model.safetensors"), (tmp_path / "hub" / "blobs" / "ab", "operator.safetensors")):
        place.mkdir(parents=True)
        (snapshot / name).rename(place / "0f0f")
        (snapshot / name).symlink_to(os.path.relpath(place / "0f0f", snapshot))
    assert Pretrained.from_pretrained(snapshot).pictures["samples.png"] == PICTURE
    (tmp_path / "hub" / "token.png").write_bytes(PICTURE)
    (snapshot / "token.png").symlink_to("../../../token.png")
    refused(snapshot, "token.png, which is outside")


def test_files_beside_the_artifact_are_left_alone(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "link").symlink_to("/dev/zero")
    (folder / "evil.py").write_text("raise SystemExit")
    assert Pretrained.from_pretrained(folder).notes


# --- JSON -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", JSONS)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": NaN}', "cannot be read as JSON"),
        (b'{"a": -Infinity}', "cannot be read as JSON"),
        (b'{"a": 1e400}', "cannot be read as JSON"),
        (b'{"a": ' + b"9" * 1_000 + b"}", "cannot be read as JSON .a whole number of 1000 digits, expected 64 bits"),
        (b'{"a": ' + b"9" * 200_000 + b"}", "cannot be read as JSON"),
        (b'{"a": 1, "a": 2}', "a key occurs twice"),
        (b'{"x": {"a": 1, "a": 2}}', "a key occurs twice"),
        (b'{"a": "\\ud800"}', "cannot be read as JSON"),
        (b'\xef\xbb\xbf{"a": 1}', "cannot be read as JSON"),
        ('{"a": 1}'.encode("utf-16"), "cannot be read as JSON"),
        (b'{"a": "\xff"}', "cannot be read as JSON"),
        (b"[" * 200_000, "cannot be read as JSON"),
        (b"[[" * 40_000 + b"]]" * 40_000, "cannot be read as JSON"),
        (b"null", "holds a NoneType"),
        (b"{} {}", "cannot be read as JSON"),
        (b"{" + b",".join(b'"%d":1' % k for k in range(1_000_000)) + b"}", "bytes, expected at most"),
    ],
    ids=lambda value: str(value)[:16],
)
def test_json_that_is_none_or_a_bomb_is_refused(folder: Path, name: str, content: bytes, message: str) -> None:
    (folder / name).write_bytes(content)
    refused(folder, rf"{name}.*{message}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put({"../escape": "0"}, "sha256"), "sha256"),
        (put({"model.safetensors": 3}, "sha256"), "sha256.model.safetensors"),
        (put([{"component": "core", "distribution": "x --index-url http://evil.example", "version": "1"}], "plugins"), "plugins.0.distribution"),
        (put([{"component": "core", "distribution": "x", "version": "1\x1b[2J"}], "plugins"), "plugins.0.version"),
        (put(99, "format_version"), "has format version 99, this release reads 1 to 1; upgrade with: pip install -U linearizer"),
        (put("x" * 10_000, "model", "backbone", "name"), "model.backbone.name: String should have at most 100 characters"),
        (put("os:system", "model", "core", "kind"), "kind = 'os:system': unknown key"),
        (put({f"{k}": 1 for k in range(20_000)}, "model", "backbone"), "model.backbone.name: Field required"),
        (lambda values: values["model"]["backbone"].update({f"{k}": 1 for k in range(20_000)}), r"unknown key(.|\n)*and 19980 more"),
        (put("x" * 200_000, "model", "backbone", "coupling"), r"coupling = 'x{199}\.\.\.: "),
        (put([{}] * 60_000, "model", "backbone", "levels"), "levels: 60000 given"),
        (put([1] * 80_000, "data", "shape"), "cannot be built"),
        (put([], "model"), "model: "),
    ],
)
def test_configurations_with_strange_names_and_types_are_refused(folder: Path, change: Callable[[dict[str, Any]], object], message: str) -> None:
    edit(folder / "config.json", change)
    refused(folder, message)


@pytest.mark.parametrize(
    ("name", "message"), [("nonesuch", "no backbone named 'nonesuch'.*pip install"), ("../../x\x1b[31m", r"no backbone named '../../x\\x1b\[31m'")]
)
def test_plugins_that_are_not_installed_are_named_and_nothing_is_imported(folder: Path, name: str, message: str) -> None:
    edit(folder / "config.json", put(name, "model", "backbone", "name"))
    with pytest.raises(LinearizerError, match=message):
        Pretrained.from_pretrained(folder)


LINE = {"step": 1, "stage": "flow", "stage_step": 1, "lr": 0.1, "loss": 2.0}
UNKNOWN = r"training.jsonl, line 2: '.*it is no line that training wrote, restore the file or delete it"


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({**LINE, "step": 2, "energy": "low"}, rf"{UNKNOWN}.*".replace("'.*", "'energy': .*")),
        ({**LINE, "step": 2, "energy": [1.0]}, UNKNOWN),
        ({**LINE, "step": 2, "energy": {"a": 1.0}}, UNKNOWN),
        ({**LINE, "step": 2, "energy": True}, UNKNOWN),
        ({**LINE, "step": 2.0}, UNKNOWN),
        ({**LINE, "step": -2}, UNKNOWN),
        ({**LINE, "step": 2, "stage": 3}, UNKNOWN),
        ({**LINE, "step": 2, "stage": "x" * 101}, UNKNOWN),
        ({**LINE, "step": 2, "stage": "\x1b[2J"}, "a name of 4 characters, expected 1 to 100, all of them printable"),
        ({**LINE, "step": 2, "x" * 100_000: 1.0}, "a name of 100000 characters"),
        ({**LINE, "step": 2, "x" * 100_000: "y"}, UNKNOWN),
        ({**LINE, "step": 2, "": 1.0}, "a name of 0 characters"),
        ({"step": 2, "stage": "flow", "stage_step": 2, "lr": 0.1}, "line 2: 'loss': Field required"),
        (LINE, "line 2: step 1 follows step 1, expected a larger one"),
        ({}, UNKNOWN),
    ],
    ids=lambda value: str(value)[:60],
)
def test_logs_with_strange_lines_are_refused(folder: Path, second: dict[str, Any], message: str) -> None:
    (folder / "training.jsonl").write_text(f"{json.dumps(LINE)}\n{json.dumps(second)}\n")
    refused(folder, message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "line 1, cannot be read as JSON"),
        (f"{json.dumps(LINE)}\n\n", "line 2, cannot be read as JSON"),
        (f"{json.dumps(LINE)}\n{json.dumps({**LINE, 'step': 2})[:-1]}", "line 2, cannot be read as JSON"),
        (f"{json.dumps(LINE)} {json.dumps({**LINE, 'step': 2})}", "line 1, cannot be read as JSON"),
        ("".join(f"{json.dumps({**LINE, 'step': k})}\n" for k in range(1, 3000)), "bytes, expected at most 204800"),
    ],
    ids=["empty", "empty line", "cut short", "one line for two", "large"],
)
def test_logs_that_are_no_lines_of_json_or_large_are_refused(folder: Path, content: str, message: str) -> None:
    (folder / "training.jsonl").write_text(content)
    refused(folder, f"training.jsonl.*{message}")


# --- models that are too large --------------------------------------------------------------------

BUDGET = "it takes (more than .* numbers|too many operations) to build"
TOO_LARGE: list[tuple[object, str, str]] = [
    (10**9, "model.backbone.dense.width", BUDGET),
    (10**18, "model.backbone.dense.width", ""),
    (10**6, "model.backbone.dense.couplings", BUDGET),
    (10**18, "model.backbone.dense.couplings", BUDGET),
    (10**6, "model.backbone.dense.depth", BUDGET),
    (10**9, "model.core.width", BUDGET),
    (10**9, "model.core.frequencies", BUDGET),
    ([10**6, 10**6], "data.shape", BUDGET),
    ([10**9], "data.shape", BUDGET),
    ([2] * 40, "data.shape", BUDGET),
    ([10**18], "data.shape", ""),
    (10**12, "model.task.sampling.steps", BUDGET),
    ({"name": "glow", "steps": 10**6}, "model.backbone", BUDGET),
    ({"name": "iresnet", "blocks": 10**6}, "model.backbone", BUDGET),
]
"""Values, where they are put into ``config.json``, and what the error says; any error of ours where it is empty."""

LIMITED = """
    import json, resource, sys, time
    from pathlib import Path
    from linearizer_core.errors import LinearizerError
    from linearizer_core.pretrained import Pretrained

    folder, cases = Path(sys.argv[1]), json.loads(sys.argv[2])
    original = (folder / "config.json").read_text()
    Pretrained.from_pretrained(folder)
    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    before, found = peak(), []
    for value, key, _ in cases:
        values = json.loads(original)
        *path, last = key.split(".")
        table = values
        for part in path:
            table = table.setdefault(part, {})
        table[last] = value
        (folder / "config.json").write_text(json.dumps(values))
        start = time.perf_counter()
        try:
            Pretrained.from_pretrained(folder)
            found.append(["loaded", 0.0])
        except LinearizerError as error:
            found.append([str(error), time.perf_counter() - start])
    print(json.dumps({"found": found, "megabytes": peak() - before}))
"""


def test_models_that_are_larger_than_their_file_are_refused_before_they_are_made(folder: Path) -> None:
    """In a process of its own, whose peak of memory is that of these loads alone."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(LIMITED), str(folder), json.dumps(TOO_LARGE)], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    for (value, key, message), (error, _) in zip(TOO_LARGE, result["found"], strict=True):
        assert re.search(f"config.json describes a model that cannot be built: .*{message}", error, re.DOTALL), (value, key, error)
    assert result["megabytes"] < 200


@pytest.mark.parametrize(
    "make",
    [
        lambda n: torch.zeros(n, n),
        lambda n: torch.randn(n, n, generator=torch.Generator()),
        lambda n: torch.eye(n),
        lambda n: torch.arange(n * n),
        lambda n: torch.ones(n)[:, None] * torch.ones(n),
        lambda n: torch.ones(1).expand(n, n).clone(),
        lambda n: torch.diag(torch.ones(n)),
        lambda n: torch.ones(n).repeat(n),
        lambda n: torch.zeros(1).new_empty(n, n),
        lambda n: [torch.zeros(n) for _ in range(n)],
        lambda n: [torch.zeros(1) for _ in range(n)],
        lambda n: torch.nn.Linear(n, n),
    ],
)
def test_the_budget_is_spent_before_memory_is(make: Callable[[int], object]) -> None:
    with pytest.raises(ArtifactError, match=BUDGET), BuildBudget(elements=10, tensors=1):
        make(10**6)


def test_the_budget_lets_views_and_work_in_place_pass() -> None:
    with BuildBudget(elements=0, tensors=0):
        large = torch.zeros(2**23)
        for _ in range(20):
            large.add_(1).view(2, -1).mT.expand(2**22, 2)
            large.uniform_()
    with BuildBudget(elements=2**22, tensors=1):
        assert torch.equal(torch.nn.Linear(3, 3, bias=False).weight.nonzero(), torch.ones(3, 3).nonzero())


# --- mutated files --------------------------------------------------------------------------------


def mutated(content: bytes, chance: random.Random) -> bytes:
    """One change of the kinds that disks, networks and editors make."""
    at, length = chance.randrange(len(content)), chance.choice((1, 1, 4, 16, 64))
    match chance.randrange(7):
        case 0:
            return content[:at] + bytes([content[at] ^ (1 << chance.randrange(8))]) + content[at + 1 :]
        case 1:
            return content[:at]
        case 2:
            return content[:at] + chance.randbytes(length) + content[at:]
        case 3:
            return content[:at] + content[at + length :]
        case 4:
            other = chance.randrange(len(content))
            first, second = sorted((at, other))
            return (
                content[:first]
                + content[second : second + length]
                + content[first + length : second]
                + content[first : first + length]
                + content[second + length :]
            )
        case 5:
            return content[:at] + chance.choice((b"0", b"-", b"9" * 20, b"null", b'"', b"{}", b"[", b"1e999", b"\x00" * 8)) + content[at + 1 :]
        case _:
            return content[:at] + content[at : at + length] * chance.choice((2, 50)) + content[at + length :]


def test_mutated_files_are_refused_or_change_nothing(folder: Path) -> None:
    """500 mutations: an error of ours, or exactly the same tensors and a card that can be written."""
    names = sorted(path.name for path in folder.iterdir())
    assert {*TENSORS, *JSONS, "README.md", "samples.png", "singular_values.png"} == set(names)
    whole = Pretrained.from_pretrained(folder)
    state, operator = whole.model.state_dict(), whole.operator
    assert operator is not None
    chance, outcomes = random.Random(0), {name: [0, 0] for name in names}
    for number in range(500):
        name = names[number % len(names)]
        original = (folder / name).read_bytes()
        (folder / name).write_bytes(mutated(original, chance))
        try:
            found = Pretrained.from_pretrained(folder)
        except LinearizerError:
            outcomes[name][0] += 1
        else:
            outcomes[name][1] += 1
            loaded = found.model.state_dict()
            assert loaded.keys() == state.keys()
            assert all(torch.equal(loaded[key], state[key]) for key in state)
            assert found.operator is not None
            assert torch.equal(found.operator.to_dense(), operator.to_dense())
            assert "## Use" in found.card()
        (folder / name).write_bytes(original)
    assert outcomes["README.md"][0] == 0
    assert all(outcomes[name][1] <= 2 for name in TENSORS), "a change that keeps every byte is rare"
    assert all(outcomes[name][0] > 20 for name in (*TENSORS, *JSONS))


def test_mutated_operators_are_refused_or_are_operators(tmp_path: Path) -> None:
    path, chance, refusals = tmp_path / "a.safetensors", random.Random(1), 0
    save_operator(path, Product(LowRank(torch.ones(4, 1), torch.ones(3, 1)), Dense(torch.eye(3))))
    original = path.read_bytes()
    for _ in range(500):
        path.write_bytes(mutated(original, chance))
        try:
            operator = load_operator(path)
        except LinearizerError:
            refusals += 1
        else:
            assert len(operator.shape) == 2
    assert refusals > 200
