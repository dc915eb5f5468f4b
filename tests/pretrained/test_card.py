"""The card: what was measured and nothing else, for people and for the Hub, whatever the files hold."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import ModelCardData, metadata_load
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from linearizer_core import plugins
from linearizer_core.config_file import load_config
from linearizer_core.data import DataInfo
from linearizer_core.files import write_json
from linearizer_core.markdown import code, escape, fence, figure, scalar
from linearizer_core.pretrained import Pretrained
from linearizer_core.pretrained.artifact import ArtifactConfig
from linearizer_core.pretrained.card import CardFacts, render_card
from linearizer_core.task import TaskCard

from .saved import INFO, METRICS, MODEL, NOTES, RECORD, small

HOSTILE = (
    "a|b",
    "x\n\n# owned",
    "---\nlicense: mit\n---",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![x](https://evil.example/p.png)",
    "[x](javascript:alert(1))",
    "`code`` ```",
    "</details>",
    "{{ config.seed }}",
    "{% raw %}",
    "$$x$$ \\(y\\)",
    'a: "b"\n- c',
    "www.evil.example and https://evil.example, a@evil.example",
    "\x1b[31mred\x07",
    "\u202egnp.exe\u2028\x85end",
    "__init__ *bold* ~~gone~~",
    "&lt;b&gt; &#60;b&#62;",
)
REAL = sorted(plugins.specs("pretrained"))


def front_matter(card: str, folder: Path) -> dict[str, Any]:
    (folder / "README.md").write_text(card, encoding="utf-8")
    found = metadata_load(folder / "README.md")
    assert found is not None
    return found


def rows(card: str) -> dict[str, list[str]]:
    """Cells of all tables by the first cell."""
    return {cells[0]: cells[1:] for line in card.splitlines() if line.startswith("| ") for cells in [re.split(r" (?<!\\)\| ", line[2:-2])]}


# --- what it says ---------------------------------------------------------------------------------


def test_the_card_quotes_what_was_measured_and_nothing_else() -> None:
    card = small().card()
    found = rows(card)
    assert found["`frechet_one_step`"] == ["31.23", NOTES["frechet_one_step"]]
    assert found["`invertibility_max_abs_err`"] == ["1e-06", ""]
    assert found["`features`"] == ["squares-classifier", ""]
    assert "hidden" not in card
    assert "label_agreement" not in card
    assert "Nothing was measured" not in card
    assert card.index("## Measured") < card.index("`frechet_one_step`") < card.index("All other figures") < card.index("`features`")
    assert card.index("`features`") < card.index("## Exactness") < card.index("`invertibility_max_abs_err`")


def test_a_card_without_measurements_says_so_and_makes_no_claim_of_them() -> None:
    card = small(metrics={}, notes={}).card()
    assert "Nothing was measured" in card
    assert "model-index" not in card
    assert "One run, seed" not in card
    assert "## Exactness" not in card


def test_pictures_come_first_in_the_order_of_their_notes() -> None:
    made = small()
    more = replace(made, pictures={**made.pictures, "a_b.png": made.pictures["samples.png"], "examples.png": made.pictures["samples.png"]})
    card = more.card()
    assert re.findall(r"!\[.*\]\((.*)\)", card) == ["samples.png", "a_b.png", "singular_values.png", "examples.png"]
    assert "![the same noise, in one step and in many](samples.png)" in card
    assert "![a b](a_b.png)" in card
    assert card.index("samples.png") < card.index("## Use")


def test_the_curves_of_training_stand_in_its_section(tmp_path: Path) -> None:
    made = small()
    card = replace(made, pictures={**made.pictures, "training.png": made.pictures["samples.png"]}).card()
    assert card.count("training.png") == 1
    assert card.index("## Training") < card.index("![loss and its terms while it was trained, by stage](training.png)") < card.index("```toml")
    assert "`training.jsonl` has 3 lines of the training log" in card
    assert "training.jsonl" not in replace(made, log=()).card()


def test_the_run_is_told_and_its_configuration_trains_again(tmp_path: Path) -> None:
    card = small().card()
    found = rows(card)
    assert found["steps"] == ["30"]
    assert found["time"] == ["12.35 s (flow 12.35 s)"]
    assert found["hardware"] == ["x86_64 (cpu), 1 process, 2 CPU threads"]
    assert found["precision"] == ["float32"]
    assert found["versions"] == ["linearizer 0.1.0, torch 2.6.0"]
    assert found["seed"] == ["7"]
    assert found["code"] == ["abc"]
    (text,) = re.findall(r"```toml\n(.*?)```", card, re.DOTALL)
    (tmp_path / "config.toml").write_text(text.replace('name = "squares"', 'name = "digits"').replace('root = "squares"\n', ""))
    config = load_config(tmp_path / "config.toml")
    assert config.model == MODEL
    assert (config.training.seed, config.training.threads) == (RECORD.training["seed"], None)


def test_a_model_whose_run_is_not_known_tells_its_seed() -> None:
    made = small()
    card = replace(made, config=made.config.model_copy(update={"training": None, "commit": None})).card()
    assert rows(card)["seed"] == ["7"]
    assert rows(card)["code"] == ["not recorded"]
    assert "linearizer train" not in card


def test_the_limits_of_the_figures_are_told() -> None:
    made = small()
    assert "One run, seed 7" in made.card()
    assert "float16" not in made.card()
    compact = made.compact()
    changed = figure(compact.metrics["float16_weights_rel_err"])
    assert f"measured before that rounding, which changes samples by {changed} relative" in compact.card()
    assert "float16_weights_rel_err" in compact.notes
    assert all(f"- {limitation}" in made.card() for limitation in made.task.card(made.config.data, {}).limitations)


def test_a_task_that_draws_no_samples_is_not_asked_for_any() -> None:
    card = render_card(CardFacts(ArtifactConfig(model=MODEL, data=INFO), parameters=5, task=TaskCard(section="## Mine\n\nmy own words")))
    assert "sample" not in card.split("## Use")[1].split("## Mine")[0]
    assert "my own words" in card


@pytest.mark.parametrize(("address", "title"), [("flow.squares", "flow.squares"), ("hf-hub:me/squares@main", "squares"), ("local-dir:PATH", "flow on squares")])
def test_the_card_says_how_its_model_is_loaded(address: str, title: str) -> None:
    card = small().card(address)
    assert f"\n# {title}\n" in card
    assert f'load("{address}")' in card
    assert f"linearizer sample {address} " in card
    assert ("linearizer[hub]" in card) == address.startswith("hf-hub:")


def test_the_code_of_the_card_runs(tmp_path: Path) -> None:
    folder = small().save_pretrained(tmp_path / "artifact")
    snippets = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    for snippet in snippets:
        exec(snippet.replace("PATH", str(folder)), names)
    assert names["images"].shape == (16, 1, 2, 2)
    assert names["f"].operator.shape == (4, 4)
    assert torch.equal(names["quick"], names["images"])


def test_notes_and_training_come_back_and_a_card_is_made_anew(tmp_path: Path) -> None:
    folder = small().save_pretrained(tmp_path / "artifact")
    loaded = Pretrained.from_pretrained(folder)
    assert loaded.notes == NOTES
    assert loaded.config.training == RECORD
    assert loaded.card() == (folder / "README.md").read_text(encoding="utf-8")


def test_a_folder_of_before_has_neither_notes_nor_training(tmp_path: Path) -> None:
    folder = small().save_pretrained(tmp_path / "artifact")
    (folder / "notes.json").unlink()
    values = json.loads((folder / "config.json").read_text())
    del values["training"]
    write_json(folder / "config.json", values)
    loaded = Pretrained.from_pretrained(folder)
    assert loaded.notes == {}
    assert loaded.config.training is None


# --- for the Hub ----------------------------------------------------------------------------------


def test_the_front_matter_is_what_the_hub_reads(tmp_path: Path) -> None:
    metrics = {**METRICS, "label_agreement": 1, "loop_seconds": "inf", "superposition_rel_err": float("nan"), "rank": True}
    found = front_matter(small(metrics).card("hf-hub:me/squares"), tmp_path)
    data = ModelCardData(model_name="squares", **{key: value for key, value in found.items() if key != "model-index"})
    assert (data.library_name, data.license, data.pipeline_tag) == ("linearizer", "apache-2.0", "unconditional-image-generation")
    assert data.tags == ["linearizer", "flow", "squares"]
    name, results = model_index_to_eval_results(found["model-index"])
    assert name == "squares"
    assert {result.metric_type: result.metric_value for result in results} == {
        "frechet_one_step": 31.23456,
        "label_agreement": 1,
        "invertibility_max_abs_err": 1e-06,
    }
    assert {(result.task_type, result.dataset_type, result.dataset_name, result.dataset_split, result.verified) for result in results} == {
        ("unconditional-image-generation", "squares", "squares", "test", False)
    }
    assert eval_results_to_model_index(name, results) == found["model-index"]


def test_vectors_are_no_images_on_the_hub(tmp_path: Path) -> None:
    assert "pipeline_tag" not in front_matter(small(info=DataInfo(name="squares", shape=(4,), classes=3)).card(), tmp_path)


@pytest.mark.parametrize("name", REAL)
def test_the_cards_of_the_catalog_are_those_of_their_folders(name: str, tmp_path: Path) -> None:
    folder = plugins.find("pretrained", name).folder()
    card = (folder / "README.md").read_text(encoding="utf-8")
    loaded = Pretrained.from_pretrained(folder)
    assert loaded.card(name) == card
    results = front_matter(card, tmp_path)["model-index"][0]["results"][0]["metrics"]
    assert len(results) >= 5
    assert all(loaded.metrics[result["type"]] == result["value"] for result in results)
    for metric, cells in rows(card).items():
        if (measured := metric.strip("`")) in loaded.metrics and loaded.collapse is not None and measured not in type(loaded.collapse).model_fields:
            assert cells[0] == figure(loaded.metrics[measured])
    assert loaded.config.training is not None
    assert f"| {escape(loaded.config.training.hardware.name)} (" in card


# --- names and values from anywhere ---------------------------------------------------------------


MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def visible(text: str) -> str:
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def tokens(markdown: str) -> list[Token]:
    return [inner for token in MARKDOWN.parse(markdown) for inner in (token, *(token.children or ()))]


@pytest.mark.parametrize("text", HOSTILE)
def test_escaped_text_is_shown_as_it_is(text: str) -> None:
    inline = MARKDOWN.parseInline(f"a {escape(text)} b")[0].children
    assert inline is not None
    assert {token.type for token in inline} == {"text"}
    assert "".join(token.content for token in inline) == f"a {visible(text)} b"
    cells = [token.content for token in tokens(f"| x | y |\n|---|---|\n| {escape(text)} | z |") if token.type == "text"]
    assert cells == ["x", "y", visible(text), "z"]


@given(st.text())
@settings(max_examples=200, deadline=None)
def test_escaped_text_has_no_markup_and_one_line(text: str) -> None:
    inline = MARKDOWN.parseInline(f"a {escape(text)} b")[0].children
    assert inline is not None
    assert "".join(token.content for token in inline if token.type == "text") == f"a {visible(text)} b"
    assert {token.type for token in inline} == {"text"}
    named = MARKDOWN.parseInline(code(text))[0].children
    assert named is not None
    assert {token.type for token in named} <= {"text", "code_inline"}
    assert not re.search(r"://|www\.|(?<!\\)[|$@]", escape(text), re.IGNORECASE)


@given(st.one_of(st.text(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans()))
@settings(max_examples=200, deadline=None)
def test_scalars_come_back_from_yaml(value: str | float) -> None:
    read = yaml.safe_load(f"key: {scalar(value)}\nnext: 1")
    assert read.keys() == {"key", "next"}
    assert type(read["key"]) is type(value)
    assert read["key"] == (visible(value) if isinstance(value, str) else value)


@given(st.text())
@settings(max_examples=100, deadline=None)
def test_a_block_of_code_ends_where_it_should(text: str) -> None:
    first, *inside, last = fence(text, "toml").split("\n")
    assert first == f"{last}toml"
    assert set(last) == {"`"}
    assert all(last not in line for line in inside)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_change_neither_the_front_matter_nor_the_structure(text: str, tmp_path: Path) -> None:
    calm, plain = small(), small().card()
    record = RECORD.model_copy(
        update={
            "data": {"name": text, text: text, "nested": {text: [text]}},
            "training": {text: text},
            "versions": {text: text},
            "seconds": {text: 1.0},
            "mixed_precision": text,
            "hardware": RECORD.hardware.model_copy(update={"name": text, "device": text}),
        }
    )
    assert calm.collapse is not None
    hostile = replace(
        calm,
        config=calm.config.model_copy(update={"training": record, "commit": text, "data": INFO.model_copy(update={"name": text})}),
        metrics={**METRICS, text: 1.5, "frechet_loop": text, "idempotency_" + text: text},
        notes={**NOTES, "frechet_one_step": text, text: text},
        collapse=calm.collapse.model_copy(update={"solver": text, "kind": text, "terminal": text}),
    )
    card = hostile.card()
    front = front_matter(card, tmp_path)
    assert front.keys() == front_matter(plain, tmp_path).keys()
    assert (front["license"], front["library_name"], front["tags"][:2]) == ("apache-2.0", "linearizer", ["linearizer", "flow"])
    assert re.fullmatch(r"[A-Za-z0-9._-]+", front["tags"][2])
    found, wanted = tokens(card.split("\n---\n", 1)[1]), tokens(plain.split("\n---\n", 1)[1])
    for kinds in (
        ("heading_open",),
        ("link_open",),
        ("image",),
        ("html_block", "html_inline"),
        ("fence",),
        ("table_open",),
        ("hr",),
        ("em_open", "strong_open"),
    ):
        assert [token.attrs if kinds != ("image",) else token.attrs["src"] for token in found if token.type in kinds] == [
            token.attrs if kinds != ("image",) else token.attrs["src"] for token in wanted if token.type in kinds
        ]
    assert {token.content for token in found if token.type.startswith("html")} == {token.content for token in wanted if token.type.startswith("html")}
    assert all(letter.isprintable() or letter == "\n" for letter in card)
