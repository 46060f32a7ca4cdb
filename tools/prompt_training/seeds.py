"""Own prompts, drawn from the templates and terms of `tools/prompt_seeds`: the part of the training data that is ours.

The rule: what is drawn depends on the seed and on the pool of passages given, on nothing else.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import Path

SEEDS = Path(__file__).resolve().parent.parent / "prompt_seeds"
_CHOICE = re.compile(r"(?<!\\)\(([^()]*(?:\\[()][^()]*)*)\)")
_SLOT = re.compile(r"\{([a-z]+)\}")

CODES = [
    "def add(a, b):\n    return a - b",
    "for (int i = 0; i <= n; i++) {\n  sum += arr[i];\n}",
    "const total = items.reduce((a, b) => a + b.price);",
    "SELECT name, COUNT(*) FROM orders GROUP BY id;",
    "```python\nclass Node:\n    def __init__(self, value):\n        self.value = value\n        self.next = None\n```",
    "```\nfunction fetchData(url) {\n  return fetch(url).then(r => r.json());\n}\n```",
    "public static void main(String[] args) {\n    System.out.println(x);\n}",
    "x = [i**2 for i in range(10) if i % 2 == 0]\nprint(x)",
    "#include <stdio.h>\nint main() { int *p; *p = 3; return 0; }",
    "while True:\n    try:\n        data = queue.get()\n    except Exception:\n        pass",
    'fn main() {\n    let v = vec![1, 2, 3];\n    println!("{:?}", v);\n}',
    '<div class="row"><span id="a">Hi</span></div>',
    "df.groupby('city')['sales'].mean().plot()",
    "import React from 'react';\nexport default function App() { return <h1>Hi</h1>; }",
]


@dataclass(frozen=True)
class Prompt:
    """A text with what is known about it; an empty label says nothing."""

    text: str
    task: str = ""
    domain: str = ""
    source: str = "seeds"


def sections(path: Path) -> dict[str, list[str]]:
    """The lines of a seed file by the heading above them."""
    found: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("[") and line.endswith("]") and line[1:-1].replace("_", "").isalpha():
            lines = found.setdefault(line[1:-1], [])
        elif line and not line.startswith("# "):
            lines.append(line)
    found.pop("end", None)
    return found


def terms() -> dict[str, list[str]]:
    """The terms of each domain."""
    return {
        domain: [term.strip() for line in lines for term in line.split(";") if term.strip()]
        for domain, lines in sections(SEEDS / "domains.txt").items()
    }


def draw_tasks(*, per_task: int, passages: list[str], sentences: list[str], seed: int) -> list[Prompt]:
    """Draw prompts for each task; each template is used equally often."""
    lots = random.Random(seed)  # noqa: S311 - draws of prompts, not of keys
    by_domain = terms()
    every_term = [term for group in by_domain.values() for term in group]
    pools = sections(SEEDS / "slots.txt") | {"topic": every_term, "passage": passages, "sentence": sentences}
    drawn = []

    def fill(match: re.Match[str]) -> str:
        kind = match[1]
        if kind == "n":
            return str(lots.randint(2, 12))
        if kind == "m":
            return str(lots.randint(13, 2000))
        if kind == "code":
            return lots.choice(["\n", "\n\n", " "]) + lots.choice(CODES) + "\n"
        text = lots.choice(pools[kind])
        if kind == "passage":
            return lots.choice(["\n", "\n\n", " ", '"']) + text + lots.choice(["\n", "\n\n", " "])
        return text

    for task, templates in sections(SEEDS / "tasks.txt").items():
        for at in range(per_task):
            text = templates[at % len(templates)]
            while (choice := _CHOICE.search(text)) is not None:
                text = text[: choice.start()] + lots.choice(choice[1].split("|")) + text[choice.end() :]
            text = _SLOT.sub(fill, text)
            for escaped, meant in (("\\[", "["), ("\\]", "]"), ("\\{", "{"), ("\\}", "}"), ("\\$", "$"), ("\\n", "\n")):
                text = text.replace(escaped, meant)
            text = text.strip()
            dice = lots.random()
            if dice < 0.12:
                text = text.lower()
            elif dice < 0.2:
                text = (
                    lots.choice(
                        ["Hi! ", "Please help. ", "Hello, ", "Hey, ", "Question: ", "Task: ", "### Instruction:\n"]
                    )
                    + text
                )
            elif dice < 0.28:
                text += lots.choice(
                    [" Thanks!", " Please.", " Be brief.", " Keep it short.", " Answer in detail.", "\n\nThank you"]
                )
            drawn.append(Prompt(text, task=task))
    return drawn


def draw_domains(*, per_domain: int, seed: int) -> list[Prompt]:
    """Take our own questions of each domain, and draw others about its terms."""
    ways = sections(SEEDS / "slots.txt")["question"]
    lots = random.Random(seed)  # noqa: S311 - draws of prompts, not of keys
    drawn = [
        Prompt(question, domain=domain)
        for domain, asked in sections(SEEDS / "questions.txt").items()
        for question in asked
    ]
    for domain, group in terms().items():
        for at in range(per_domain):
            t = group[at % len(group)]
            u, v, w = lots.sample(group, 3)
            text = lots.choice(ways).format(t=t, T=t[:1].upper() + t[1:], u=u, v=v, w=w)
            if lots.random() < 0.3:
                text += "".join(f"\n{letter}. {lots.choice(group)}" for letter in "ABCD")
            drawn.append(Prompt(text, domain=domain))
    return drawn


def passages() -> list[str]:
    """Own passages, for prompts that are about a text."""
    return [each.strip() for each in (SEEDS / "passages.txt").read_text(encoding="utf-8").split("\n\n") if each.strip()]


def questions() -> list[str]:
    """Own questions of all domains."""
    return [question for asked in sections(SEEDS / "questions.txt").values() for question in asked]
