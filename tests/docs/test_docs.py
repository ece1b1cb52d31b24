"""What the documentation says of hotdesk holds: its commands, specs, links and module paths."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from hotdesk.cli.main import hotdesk
from hotdesk.spec import parse_spec

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, *languages: str) -> list[tuple[str, str]]:
    """(where, text) of each fenced block of these languages."""
    text = page.read_text(encoding="utf-8")
    return [
        (f"{name(page)}:{text.count(chr(10), 0, match.start()) + 1}", match[2])
        for match in FENCE.finditer(text)
        if match[1] in languages
    ]


def prose(page: Path) -> str:
    """The page without what is fenced or commented out."""
    return re.sub(r"<!--.*?-->", "", FENCE.sub("", page.read_text(encoding="utf-8")), flags=re.DOTALL)


def everywhere(*languages: str) -> list[tuple[str, str]]:
    return [block for page in PAGES for block in blocks(page, *languages)]


def command_lines() -> list[tuple[str, str]]:
    """(where, command line) of each `hotdesk …` in a shell block or between backticks."""
    lines = [
        (where, re.sub(r"^(?:\$ )?(?:[A-Z_]+=\S+ +)*", "", line.strip()))
        for where, text in everywhere("sh", "console")
        for line in text.replace("\\\n", " ").splitlines()
    ]
    lines += [(name(page), code) for page in PAGES for code in re.findall(r"`(hotdesk [^`]+)`", prose(page))]
    return sorted({(where, line) for where, line in lines if line.startswith("hotdesk ")})


def parse(arguments: list[str]) -> None:
    """Read the command line as hotdesk would, and run nothing."""
    command: click.Command = hotdesk
    context = command.make_context("hotdesk", list(arguments))
    rest = arguments
    while isinstance(command, click.Group):
        _, rest, _ = command.make_parser(context).parse_args(list(rest))
        if not rest:
            return
        found, next_command, rest = command.resolve_command(context, rest)
        assert next_command is not None
        command = next_command
        context = command.make_context(found, list(rest), parent=context)


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_of_commands_is_what_the_commands_say() -> None:
    written = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")

    assert written == load_generator().reference(), "run `python docs/generate.py`"


def test_the_results_are_what_the_benchmark_gave() -> None:
    page, readme = load_generator().measured()

    assert (ROOT / "docs" / "measured.md").read_text(encoding="utf-8") == page, (
        "run `python docs/generate.py`"
    )
    assert (ROOT / "README.md").read_text(encoding="utf-8") == readme, "run `python docs/generate.py`"


@pytest.mark.parametrize(("where", "text"), everywhere("toml"))
def test_every_spec_in_the_docs_is_one(where: str, text: str) -> None:
    parse_spec(text)


def test_the_docs_hold_specs_and_commands_to_check() -> None:
    assert len(everywhere("toml")) > 5
    assert len(command_lines()) > 30


@pytest.mark.parametrize(("where", "line"), command_lines())
def test_every_command_in_the_docs_exists_with_its_options(where: str, line: str) -> None:
    words = shlex.split(line, comments=True)
    end = next((i for i, word in enumerate(words) if word in {"|", "&&", ";", ">", "2>"}), len(words))

    try:
        parse(words[1:end])
    except click.exceptions.Exit:
        pass  # --help and --version end there
    except click.MissingParameter:
        assert end == len(words) <= 3, where  # the command by its name alone
    except click.ClickException as error:
        pytest.fail(f"{where}: {error.format_message()}")


def test_a_command_that_does_not_exist_would_be_found() -> None:
    for line in ("hotdesk nap", "hotdesk up --fast", "hotdesk cache gcc", "hotdesk run"):
        with pytest.raises(click.UsageError):
            parse(shlex.split(line)[1:])


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    lost = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path) if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            lost.append(target)

    assert lost == []


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as the common renderers name them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_path_of_the_repository_that_is_named_exists(page: Path) -> None:
    named = set(re.findall(r"`((?:src|tests|docs|benchmarks)/[\w./-]+)`", prose(page)))
    shown = set(
        re.findall(r"`((?:build|cli|desk|engines|fetch|indexes|layers|resolve)/[\w./]*)`", prose(page))
    )
    modules = set(re.findall(r"`(hotdesk(?:\.[a-z_]+)+)`", prose(page))) - {"hotdesk.toml", "hotdesk.lock"}

    missing = {path for path in named if not (ROOT / path).exists()}
    missing |= {path for path in shown if not (ROOT / "src" / "hotdesk" / path).exists()}
    missing |= {module for module in modules if importlib.util.find_spec(module) is None}
    assert missing == set()


def test_the_screenshot_is_shown_once_there_is_one() -> None:
    there = (ROOT / "docs" / "screenshot.png").exists()

    assert ("docs/screenshot.png" in prose(ROOT / "README.md")) is there


def test_every_page_can_be_reached_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    unreachable = [page.name for page in (ROOT / "docs").glob("*.md") if f"docs/{page.name}" not in readme]
    assert unreachable == []


def test_the_spec_page_names_every_key() -> None:
    from hotdesk.project import read_template, template_names

    text = (ROOT / "docs" / "spec.md").read_text(encoding="utf-8")
    source = (ROOT / "src" / "hotdesk" / "spec" / "spec.py").read_text(encoding="utf-8")
    keys = set(re.findall(r"""\.(?:text|strings|take|table)\(\s*"([a-z]+)\"""", source))

    assert len(keys) >= 13
    assert {key for key in keys if f"`{key}`" not in text and f"`[{key}]`" not in text} == set()
    assert all(read_template(template).spec.name in text for template in template_names())
