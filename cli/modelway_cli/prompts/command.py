"""`modelway analyze` and `modelway eval-prompts`: the options; the work is in `analyze` and `evaluate`."""

import sys
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Adds both commands to `app`."""
    app.command("analyze")(analyze)
    app.command("eval-prompts")(eval_prompts)


def analyze(
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]", help="What to read.", show_default="standard input", exists=True, dir_okay=False
        ),
    ] = None,
    *,
    routes: Annotated[
        bool, typer.Option("--routes", help="Read own categories and texts, and say where each text belongs.")
    ] = False,
) -> None:
    """Say what prompts ask for, about what, how hard and in which language; offline.

    Reads JSON lines with "id" and "text" and writes one line for each, in
    order: task and domain with the probability that they are right (null
    where the language is unknown), the probability that a cheap model
    fails, language and tokens. Texts are written nowhere.

    With --routes it reads one JSON object with "routes" (a name and its
    phrases, two at least) and "texts", and writes one line with the nearest
    route of each text and how near it is.

    \b
    [bold]Examples[/bold]
      echo '{"id": 1, "text": "Write a haiku about rain"}' | modelway analyze
      modelway analyze prompts.jsonl > labels.jsonl
      modelway analyze --routes categories.json
    """  # noqa: D301 - \b is typer's mark for lines to keep
    from modelway_cli.prompts.analyze import analyze_lines, analyze_routes

    data = source.read_bytes() if source is not None else None
    if routes:
        print(analyze_routes(data if data is not None else sys.stdin.buffer.read()))
        return
    for line in analyze_lines(data.splitlines() if data is not None else sys.stdin.buffer):
        print(line)


def eval_prompts(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder of labelled prompts.", exists=True, file_okay=False)
    ],
) -> None:
    """Measure the prompt analysis on labelled prompts: the figures of docs/prompt-model.md, on yours.

    Reads files of JSON lines by name: task_*.jsonl and domain_*.jsonl
    ("text", "label"), difficulty_*.jsonl ("text", "weak", "strong": how well
    a weak and a strong model did, 0 to 1), language_*.jsonl ("text", "label":
    ISO 639-1), custom_*.jsonl ("text", "label", "oos" for none), tokens_*.jsonl
    ("text", "tokens"). Prompt length stands beside difficulty.
    """
    from modelway_cli.prompts.evaluate import evaluate

    for line in evaluate(folder):
        print(line, flush=True)
