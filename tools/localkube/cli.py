"""The command line: reads the words, calls the one function, turns errors into exit codes."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

from . import images, lifecycle, packages
from .errors import LocalkubeError
from .layout import REPOSITORY, Layout, read_layout

DESCRIPTION = """A whole Kubernetes node on this Linux machine, without Docker.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 this machine cannot run it."""
PASSED_THROUGH = ("kubectl", "helm")


def main(words: list[str] | None = None) -> int:
    """Run one command."""
    words = sys.argv[1:] if words is None else words
    try:
        layout = read_layout()
        if words and words[0] in PASSED_THROUGH:  # their words are not ours to read
            pass_through(layout, words)
        return dispatch(layout, make_parser().parse_args(words))
    except LocalkubeError as exc:
        print(f"localkube: {exc}", file=sys.stderr)
        return exc.exit_code
    except KeyboardInterrupt:
        return 130


def make_parser() -> argparse.ArgumentParser:
    """The words that we read."""
    parser = argparse.ArgumentParser(
        prog="localkube", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("up", help="bring the node up (builds what the cache lacks)")
    commands.add_parser("down", help="take it down without a trace; the cache stays")
    commands.add_parser("status", help="show components, folders and the audit log; exit code 1 when not up")
    commands.add_parser("build", help="fill the cache only")
    commands.add_parser("env", help="print exports of KUBECONFIG and PATH for a shell's eval")
    for name, text in (
        ("stop", "end components of the running node, as an outage would; pods run on"),
        ("start", "start them again, in the given order"),
    ):
        some = commands.add_parser(name, help=text)
        some.add_argument("components", nargs="+", choices=lifecycle.COMMANDS, metavar="COMPONENT")
    load = commands.add_parser("load", help="import image archives, or images built by `image`, into the node")
    load.add_argument("images", nargs="+", metavar="ARCHIVE_OR_NAME")
    image = commands.add_parser("image", help="build an image; load it if the node is up; print its id")
    image.add_argument("target", help="stage of the Dockerfile ('' for the last)")
    image.add_argument("tag", help="name, such as localhost/modelway-operator:dev")
    image.add_argument("-f", "--file", type=Path, default=REPOSITORY / "Dockerfile")
    image.add_argument("--context", type=Path, default=REPOSITORY)
    image.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    for name in PASSED_THROUGH:
        commands.add_parser(name, help=f"run {name} against the node", add_help=False)
    return parser


def dispatch(layout: Layout, options: argparse.Namespace) -> int:
    """Call what was asked for."""
    match options.command:
        case "up":
            lifecycle.up(layout)
        case "down":
            lifecycle.down(layout)
        case "status":
            print(lifecycle.describe(layout))
            return 0 if lifecycle.is_up(layout) else 1
        case "build":
            lifecycle.prepare(layout)
        case "env":
            print(f"export KUBECONFIG={shlex.quote(str(layout.kubeconfig))}")
            print(f'export PATH={shlex.quote(str(layout.commands))}:"$PATH"')
        case "stop":
            lifecycle.stop_components(layout, options.components)
        case "start":
            lifecycle.start_components(layout, options.components)
        case "load":
            packages.check_machine()
            images.load(layout, options.images)
        case "image":
            make_image(layout, options)
    return 0


def make_image(layout: Layout, options: argparse.Namespace) -> None:
    """Build, load where there is a node, and print the image's id."""
    lifecycle.prepare(layout)
    identity = images.build_image(
        layout,
        target=options.target,
        tag=options.tag,
        dockerfile=options.file,
        context=options.context,
        arguments=options.build_arg,
    )
    if lifecycle.is_up(layout):
        images.load(layout, [options.tag])
    print(identity)


def pass_through(layout: Layout, words: list[str]) -> None:
    """Become kubectl or helm, as the node's administrator."""
    program = layout.commands / words[0]
    if not program.exists():
        raise LocalkubeError(f"{words[0]} is not built yet: run `localkube build`")
    os.environ["KUBECONFIG"] = str(layout.kubeconfig)
    os.execv(program, [words[0], *words[1:]])  # noqa: S606  (no shell is wanted)
