"""The kit within pytest: names, skips, expected failures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from linearizer_core.errors import ConfigError
from linearizer_core.testing import BackboneSubject, parametrize_with_checks

from .wrong_backbones import Affine

SUITE = """
import torch
from linearizer_core.bijections import Bijection, FixedAffine
from linearizer_core.testing import BackboneSubject, OperatorSubject, parametrize_with_checks
from linearizer_core.operators import Diagonal

class Half(Bijection):
    def forward(self, x, condition=None):
        self.check_input(x)
        return x / 2
    def inverse(self, z, condition=None):
        self.check_latent(z)
        return z * 1.9

subjects = [BackboneSubject(lambda shape, conditions: Half(shape), title="half", shapes=[(3,)])]

@parametrize_with_checks(subjects, select="*-inverse", expected_failures={"left-inverse": "1.9 is not 2"})
def test_known(subject, check):
    check(subject)

@parametrize_with_checks(subjects, select="determinism", expected_failures={"determinism": "by mistake"})
def test_surprise(subject, check):
    check(subject)

@parametrize_with_checks([*subjects, OperatorSubject(Diagonal(torch.ones(2)))], select="*d*t*")
def test_mixed(subject, check):
    check(subject)
"""


def test_results_within_pytest(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(SUITE, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", str(tmp_path), str(tmp_path)]
    shown = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stdout
    assert "XFAIL test_it.py::test_known[half-left-inverse] - 1.9 is not 2" in shown
    assert "FAILED test_it.py::test_known[half-right-inverse]" in shown
    assert "FAILED test_it.py::test_surprise[half-determinism]" in shown
    assert "[XPASS(strict)] by mistake" in shown
    assert "PASSED test_it.py::test_mixed[half-modes-agree]" not in shown
    assert "PASSED test_it.py::test_mixed[half-determinism]" in shown
    assert "PASSED test_it.py::test_mixed[Diagonal-gradients]" in shown
    assert "has_logdet is False" in shown


def test_importing_the_kit_needs_no_pytest() -> None:
    program = "import sys; sys.modules['pytest'] = None; import linearizer_core.testing as kit; kit.checks_for('backbone')"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_unknown_checks_are_refused_when_the_test_is_defined() -> None:
    with pytest.raises(ConfigError, match="expected_failures names 'inverse'"):
        parametrize_with_checks([BackboneSubject(Affine)], expected_failures={"inverse": "x"})
