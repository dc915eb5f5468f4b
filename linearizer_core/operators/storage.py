"""Operators in files: one safetensors file each."""

from __future__ import annotations

import os
from pathlib import Path

from safetensors.torch import save

from linearizer_core.errors import ArtifactError
from linearizer_core.operators.base import LinearOperator
from linearizer_core.operators.kinds import kind_named
from linearizer_core.tensor_files import read_tensors

FORMAT = "1"
_LONGEST_REASON = 500


def save_operator(path: str | os.PathLike[str], operator: LinearOperator) -> None:
    """Write an operator to one safetensors file, replacing it as a whole or not at all.

    Example:
        >>> import tempfile, torch
        >>> from linearizer_core.operators import Diagonal, load_operator, save_operator
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_operator(f"{folder}/a.safetensors", Diagonal(torch.tensor([1.0, 2.0])))
        ...     load_operator(f"{folder}/a.safetensors")
        Diagonal(2 x 2, float32)
    """
    target = Path(path)
    # Clones, because two names may hold one tensor (U is V) and safetensors refuses shared memory.
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in operator.tensors().items()}
    content = save(tensors, metadata={"format": FORMAT, "kind": operator.kind})
    temporary = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def load_operator(path: str | os.PathLike[str]) -> LinearOperator:
    """Read what `save_operator` wrote, on the CPU.

    Raises:
        ArtifactError: when the file is missing, truncated, of another format, of an unknown kind, or does not hold exactly the tensors of its kind.
    """
    tensors, metadata = read_tensors(path)
    if metadata.get("format") != FORMAT or "kind" not in metadata:
        raise ArtifactError(
            f"{os.fspath(path)} has format {metadata.get('format')!r:.99}, expected format {FORMAT} and a kind of operator; "
            "give a file that save_operator wrote, or update linearizer if it is newer"
        )
    try:
        return kind_named(metadata["kind"]).from_tensors(tensors)
    except (ArtifactError, ValueError, RuntimeError) as error:
        raise ArtifactError(f"operator file {os.fspath(path)}: {str(error)[:_LONGEST_REASON]}; the file was edited, write it again") from error
