"""The model card: the page that says what the model can do, by what it was measured, and what it cannot.

The rule: no figure is typed by hand; the page is made of what the training run measured.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from modelway_cli.prompts.figures import Figure

BEGIN, END = "<!-- figures: written by tools/train_prompt_model.py -->", "<!-- end of figures -->"


def rounded(figure: Figure) -> list[float]:
    """Value, interval and count, as the record keeps them."""
    return [round(figure.value, 3), round(figure.low, 3), round(figure.high, 3), figure.count]


def write(page: Path, record: Path, measured: dict[str, Any]) -> None:
    """Put the figures into the page, between its marks, and keep them as a record."""
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps(measured, indent=1, sort_keys=True) + "\n")
    text = page.read_text()
    head, rest = text.split(BEGIN)
    tail = rest.split(END)[1]
    page.write_text(head + BEGIN + "\n\n" + "\n".join(_tables(measured)) + "\n\n" + END + tail)


def _tables(measured: dict[str, Any]) -> list[str]:
    lines = []
    for kind in ("task", "domain"):
        found = measured[kind]
        lines += [
            f"### {kind.capitalize()}",
            "",
            "| sources | accuracy | by sources | surest half | answered at 0.5 | of them right | calibrated |",
            "| --- | --- | --- | --- | --- | --- | --- |",
        ]
        for name, title in (("reported", "never chosen by"), ("chosen_by", "chosen by"), ("all", "all")):
            part = found[name]
            lines.append(
                f"| {title} | {_figure(part['accuracy'])} | {part['mean_over_sources']:.3f} "
                f"| {_figure(part['most_confident_half'])} | {part['answered_at_0.5']:.2f} "
                f"| {part['accuracy_where_answered']:.3f} | {part['calibration_error']:.3f} |"
            )
        lines += [
            "",
            "By source left out: "
            + "; ".join(f"{name} {_figure(value)}" for name, value in found["by_source"].items())
            + ".",
            "",
            "By label: " + ", ".join(f"{name} {value:.2f}" for name, value in found["by_label"].items()) + ".",
            "",
        ]
    lines += ["### Difficulty", "", "| prompts | APGR | prompt length alone |", "| --- | --- | --- |"]
    lines += [
        f"| {name} | {_figure(part['apgr'])} | {_figure(part['by_length_alone'])} |"
        for name, part in measured["difficulty"].items()
    ]
    own = measured["examples"]
    lines += [
        "",
        "### Own categories",
        "",
        (
            f"Six categories of CLINC150, eight phrases each, {own['draws']} draws; none was in the table's "
            f"training: accuracy {_plain(own['accuracy'])}, AUROC against utterances of no category "
            f"{_plain(own['auroc'])}, their own leave-one-out figure {own['own_leave_one_out']:.3f}."
        ),
        "",
        "### Tokens",
        "",
        "Mean relative error against exact counts (o200k_base), on the half of the texts that was not fitted: "
        + "; ".join(f"{name} {_figure(value)}" for name, value in measured["tokens"].items())
        + ".",
    ]
    return lines


def _figure(value: list[float]) -> str:
    return f"{value[0]:.3f} [{value[1]:.3f}, {value[2]:.3f}] (n = {int(value[3])})"


def _plain(value: list[float]) -> str:
    return f"{value[0]:.3f} [{value[1]:.3f}, {value[2]:.3f}]"
