"""The matrix counts what was sent, and its figures follow from that."""

import json
from pathlib import Path

from tests.prompt_routes.corpus import ROUTES, Prompt, prompts
from tests.prompt_routes.matrix import matrix_in, matrix_of
from tests.prompt_routes.picture import PICTURE, RECORD, draw

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_figures_and_table_say_how_many_took_their_route_and_which_the_others_took() -> None:
    """One of four legal prompts went astray, one of the others was refused."""
    taken = [(Prompt(f"{route}-{number}", route, "…"), route) for route in ROUTES for number in range(3)]
    taken += [(Prompt("legal-x", "legal", "…"), "hard"), (Prompt("other-x", "other", "…"), "prompt_too_long")]

    matrix = matrix_of(taken)

    assert (18 / 20, 0.75, 1.0) == (matrix.share, matrix.recalls["legal"], matrix.recalls["hard"])
    assert (("legal-x", "hard"), ("other-x", "prompt_too_long")) == matrix.astray
    assert [
        "|  | german | returns | legal | creative | hard | other | prompt_too_long | of | recall |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        "| **german** | 3 | 0 | 0 | 0 | 0 | 0 | 0 | 3 | 1.00 |",
        "| **returns** | 0 | 3 | 0 | 0 | 0 | 0 | 0 | 3 | 1.00 |",
        "| **legal** | 0 | 0 | 3 | 0 | 1 | 0 | 0 | 4 | 0.75 |",
    ] == matrix.table().splitlines()[:5]
    assert {"legal-x": "hard", "other-x": "prompt_too_long"} == matrix.as_record()["astray"]
    assert 20 == matrix.as_record()["prompts"]


def test_table_in_the_documentation_is_that_of_the_record() -> None:
    """And the record is of the prompts as they stand."""
    record = json.loads((DOCS / "records" / "prompt-routes.json").read_text())
    matrix = matrix_in(record)

    assert matrix.as_record().items() <= record.items()
    assert matrix.table() in (DOCS / "prompt-model.md").read_text()
    assert len(prompts()) == matrix.counts.total()
    assert set(record["astray"]) <= {prompt.id for prompt in prompts()}


def test_picture_in_the_documentation_is_that_of_the_record() -> None:
    """`python -m tests.prompt_routes.picture` draws it anew."""
    assert draw(json.loads(RECORD.read_text())) == PICTURE.read_text()
