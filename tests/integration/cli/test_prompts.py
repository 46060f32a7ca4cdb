"""`modelway analyze` and `modelway eval-prompts` as processes: what goes in, what comes out, in which order."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.canary import PROMPT_CANARY, WRITTEN

KEYS = ["id", "task", "task_p", "domain", "domain_p", "difficulty", "language", "tokens"]


def modelway(*arguments: str, said: bytes = b"") -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "modelway_cli", *arguments],
        input=said,
        capture_output=True,
        check=False,
        env={**os.environ, "COLUMNS": "100"},
    )
    WRITTEN.search(f"modelway {arguments[0]}", done.stdout + done.stderr)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_each_line_in_is_one_line_out_in_order() -> None:
    """Ids come back as they were, whatever their type; blank lines are passed over."""
    asked: list[dict[str, object]] = [
        {"id": 7, "text": "Write a poem about the sea."},
        {"id": "x", "text": "Wie koche ich ein Ei, ohne dass es platzt?"},
        {"id": None, "text": ""},
        {"id": [1], "text": "lone \ud800 surrogate", "more": "is passed over"},
    ]
    said = "\n\n".join(json.dumps(each) for each in asked).encode()

    status, out, err = modelway("analyze", said=said)
    answers = [json.loads(line) for line in out.splitlines()]

    assert (0, "") == (status, err)
    assert [each["id"] for each in asked] == [answer["id"] for answer in answers]
    assert [KEYS] * 4 == [list(answer) for answer in answers]
    assert ("writing", "en") == (answers[0]["task"], answers[0]["language"])
    assert "de" == answers[1]["language"]
    assert (None, 0.0, None, 0.0, "unknown", 0) == tuple(
        answers[2][key] for key in ("task", "task_p", "domain", "domain_p", "language", "tokens")
    )


def test_a_file_is_read_like_standard_input(tmp_path: Path) -> None:
    """`modelway analyze FILE`."""
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"id": 1, "text": "What is the capital of France?"}\n')

    assert modelway("analyze", str(path)) == modelway("analyze", said=path.read_bytes())


def test_routes_answer_the_nearest_for_each_text_on_one_line() -> None:
    """The order is that of the texts; a score is a number."""
    asked = {
        "routes": {
            "returns": ["I want to send my shoes back", "how do I return an item", "start a return for my order"],
            "weather": ["will it rain tomorrow", "what is the forecast for Sunday", "how cold is it outside"],
        },
        "texts": ["is it going to snow this weekend?", "can I return this jacket?"],
    }
    status, out, err = modelway("analyze", "--routes", said=json.dumps(asked).encode())

    assert (0, "", 1) == (status, err, len(out.splitlines()))
    assert ["weather", "returns"] == [route for route, _ in json.loads(out)]
    assert all(isinstance(score, float) for _, score in json.loads(out))


@pytest.mark.parametrize(
    ("arguments", "said", "message"),
    [
        ([], '{"id": 1, "text": "a"}\n{"id": 2, "texts": "%s"}', "line 2: Object missing required field `text`"),
        ([], '{"id": 1, "text": ["%s"]}', "line 1: Expected `str`, got `array` - at `$.text`"),
        ([], '{"id": 1, "text": "%s"', "line 1: "),
        (["--routes"], '{"routes": {"a": ["%s"]}, "texts": []}', "routes: category 'a' has fewer than two phrases"),
        (["--routes"], '{"routes": {}, "texts": ["%s"]}', "routes: no categories"),
        (["--routes"], '{"texts": ["%s"]}', "the input: Object missing required field `routes`"),
    ],
)
def test_what_cannot_be_read_is_said_by_its_place_and_never_repeated(
    arguments: list[str], said: str, message: str
) -> None:
    """The line and the field are named; the text is not in the error."""
    status, out, err = modelway("analyze", *arguments, said=said.replace("%s", PROMPT_CANARY).encode())

    assert 2 == status
    assert f"modelway: {message}" in err
    assert PROMPT_CANARY not in out + err


def test_eval_prompts_prints_the_cards_figures(tmp_path: Path) -> None:
    """One line a figure, with interval and count; prompt length beside difficulty."""
    rows: dict[str, list[dict[str, object]]] = {
        "task_own.jsonl": [
            {"text": "Write a poem about trees.", "label": "writing", "src": "a:1"},
            {"text": "Solve 2x = 4.", "label": "math", "src": "b"},
        ],
        "domain_own.jsonl": [{"text": "Explain hash tables and linked lists.", "label": "computer science"}],
        "difficulty_own.jsonl": [{"text": "a", "weak": 1, "strong": 1}, {"text": "long " * 50, "weak": 0, "strong": 1}],
        "language_own.jsonl": [{"text": "Wie spät ist es gerade in Berlin?", "label": "de"}],
        "tokens_own.jsonl": [{"text": "The cat sat on the mat and looked out.", "tokens": 10}],
        "notes.jsonl": [{"anything": 1}],
    }
    for name, each in rows.items():
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in each))

    status, out, err = modelway("eval-prompts", str(tmp_path))

    assert (0, "") == (status, err)
    for expected in (
        "task_own.jsonl: accuracy 1.000 [",
        "task_own.jsonl: accuracy on a 1.000",
        "domain_own.jsonl: accuracy 1.000",
        "difficulty_own.jsonl: difficulty, APGR ",
        "difficulty_own.jsonl: prompt length alone, APGR 0.750",
        "language_own.jsonl: accuracy 1.000",
        "tokens_own.jsonl: relative error 0.",
    ):
        assert expected in out
    assert "notes" not in out


def test_eval_prompts_says_what_a_folder_lacks(tmp_path: Path) -> None:
    """An empty folder, and a record without its label."""
    empty = modelway("eval-prompts", str(tmp_path))
    (tmp_path / "task_x.jsonl").write_text(json.dumps({"text": PROMPT_CANARY}) + "\n")
    unlabelled = modelway("eval-prompts", str(tmp_path))

    assert (1, 2) == (empty[0], unlabelled[0])
    assert "holds no file named task_*.jsonl" in empty[2]
    assert "task_x.jsonl: a record lacks the field 'label'" in unlabelled[2]
    assert PROMPT_CANARY not in unlabelled[1] + unlabelled[2]
