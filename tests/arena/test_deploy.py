"""The files in deploy/ stay true: they are valid, and what they name exists."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
import yaml

from arena.cli import main
from arena.settings import Settings, variables
from tests.conftest import missing

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNITS = DEPLOY / "systemd"
SCHEMA = ROOT / "tests" / "data" / "compose_spec.schema.json"

SETTINGS = {variable.name: variable for variable in variables()}
OF_COMPOSE = {"ARENA_SITE", "ARENA_WEBS", "ARENA_RUNNERS"}
"""What only deploy/compose.yaml reads."""


def interpolated(text: str) -> str:
    """As compose does it, when nothing is given but what must be."""
    return re.sub(r"(?<!\$)\$\{\w+:(?:-([^}]*)|\?[^}]*)\}", r"\1", text)


COMPOSE: dict[str, Any] = yaml.safe_load(interpolated((DEPLOY / "compose.yaml").read_text()))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PARTS = {name: one for name, one in SERVICES.items() if one["image"].startswith("arena:")}


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names have capitals
    parser.read(UNITS / name)
    return parser


def services() -> list[str]:
    return sorted(path.name for path in UNITS.glob("*.service"))


def check_command(words: list[str]) -> None:
    """Assert that `arena words` is a command."""
    command: click.Command = main
    for word in words:
        assert isinstance(command, click.Group), words
        found = command.get_command(click.Context(command), word)
        assert found is not None, words
        command = found
    assert not isinstance(command, click.Group), words


@pytest.mark.parametrize("file", sorted(DEPLOY.glob("compose*.yaml")), ids=lambda f: f.name)
def test_every_compose_file_is_valid(file: Path) -> None:
    content = yaml.safe_load(interpolated(file.read_text()))
    jsonschema.Draft201909Validator(json.loads(SCHEMA.read_text())).validate(content)


def test_what_is_shared_with_other_machines_is_shared_on_one_address() -> None:
    added = yaml.safe_load((DEPLOY / "compose.shared.yaml").read_text())["services"]
    assert added.keys() == {"postgres", "redis"} <= SERVICES.keys()
    for service in added.values():
        assert all(port.startswith("${SHARED_ADDRESS:?") for port in service["ports"])


def test_the_addresses_of_the_example_are_of_the_services_and_can_be_set() -> None:
    example = (DEPLOY / "compose.env.example").read_text()
    values = {
        name: re.sub(r"\$\{\w+\}", "secret", value)
        for name, value in re.findall(r"^([A-Z_]+)=(.+)$", example, re.M)
    }
    settings = Settings.from_environment(values)
    assert "@postgres:5432/arena" in settings.database_url
    assert settings.redis_url == "redis://:secret@redis:6379/0"
    raw = (DEPLOY / "compose.yaml").read_text()
    for name in ("DATABASE_URL", "REDIS_URL"):
        assert re.findall(rf"{name}: (.*)", raw) == [f"${{{name}:?set it in deploy/.env}}"]


def test_units_may_read_what_metrics_of_processes_are_made_of() -> None:
    common = unit("arena-.service.d/common.conf")["Service"]
    assert "ProcSubset" not in common


@pytest.mark.parametrize(
    "file", [path for path in sorted(DEPLOY.rglob("*")) if path.is_file()], ids=lambda f: f.name
)
def test_every_setting_that_is_named_exists(file: Path) -> None:
    named = set(re.findall(r"\b(ARENA_[A-Z_]*[A-Z]|DATABASE_URL|REDIS_URL)\b", file.read_text()))
    assert named <= {*SETTINGS, *OF_COMPOSE}


@pytest.mark.parametrize("name", PARTS)
def test_every_container_runs_a_command_that_exists(name: str) -> None:
    check_command(PARTS[name]["command"])


@pytest.mark.parametrize("name", services())
def test_every_unit_runs_a_command_that_exists(name: str) -> None:
    program, *words = shlex.split(unit(name)["Service"]["ExecStart"])
    assert program.endswith("/bin/arena")
    check_command(words)


def test_the_schema_is_brought_up_to_date_once_before_all_else() -> None:
    others = PARTS.keys() - {"upgrade"}
    assert others == {"web", "runner", "worker"}
    assert PARTS["upgrade"]["restart"] == "no"
    for name in others:
        waits = PARTS[name]["depends_on"]["upgrade"]
        assert waits == {"condition": "service_completed_successfully"}
        assert PARTS[name]["restart"] == "unless-stopped"
    for name in set(services()) - {"arena-upgrade.service"}:
        assert "arena-upgrade.service" in unit(name)["Unit"]["After"]
        assert unit(name)["Service"]["Restart"] == "always"
    assert unit("arena-upgrade.service")["Service"]["Type"] == "oneshot"


def test_a_worker_stands_by() -> None:
    assert SERVICES["worker"]["deploy"]["replicas"] == 2


@pytest.mark.parametrize("name", PARTS)
def test_containers_can_write_nothing_and_gain_nothing(name: str) -> None:
    part = PARTS[name]
    assert part["read_only"] is True
    assert part["cap_drop"] == ["ALL"]
    assert part["security_opt"] == ["no-new-privileges:true"]


def test_no_file_holds_a_secret_and_none_may_be_forgotten() -> None:
    text = "".join(path.read_text() for path in DEPLOY.rglob("*.example"))
    for line in re.findall(r"^(\w*(?:KEY|TOKEN|PASSWORD))=(.*)$", text, re.MULTILINE):
        assert line[1] == "", line
    compose = (DEPLOY / "compose.yaml").read_text()
    for name in ("POSTGRES_PASSWORD", "REDIS_PASSWORD"):
        assert len(re.findall(rf"\$\{{{name}:\?", compose)) == len(
            re.findall(rf"(?<!\$)\$\{{?{name}", compose)
        )


def test_every_variable_of_the_compose_file_is_in_its_example() -> None:
    text = "".join(file.read_text() for file in DEPLOY.glob("compose*.yaml"))
    used = set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", text))
    offered = re.findall(r"^#? ?([A-Z_]+)=", (DEPLOY / "compose.env.example").read_text(), re.M)
    assert used <= set(offered)


def test_the_image_is_made_of_locked_wheels_and_runs_as_nobody_special() -> None:
    build, final = re.split(r"^FROM ", (DEPLOY / "Dockerfile").read_text(), flags=re.M)[1:]
    assert "--require-hashes --only-binary :all:" in build
    assert "pip install" not in final
    assert "apt" not in final
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", final, re.M)
    let_in = re.findall(r"^!(.*)$", (DEPLOY / "Dockerfile.dockerignore").read_text(), re.M)
    copied = [
        word for line in re.findall(r"^COPY (?!--)(.*) ", build, re.M) for word in line.split()
    ]
    assert set(copied) == set(let_in)
    assert all((ROOT / name).exists() for name in copied)


@pytest.mark.parametrize("name", services())
def test_systemd_accepts_every_unit(name: str, tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        missing("systemd-analyze is not on PATH (for example: apt-get install systemd)")
    folder = tmp_path / "units"
    shutil.copytree(UNITS, folder)
    for file in folder.rglob("*"):
        if file.is_file():  # the program is not where it will be
            file.write_text(file.read_text().replace("/opt/arena/.venv/bin/arena", "/bin/true"))
    instance = name.replace("@.", "@1.")
    found = subprocess.run(
        [program, "verify", "--man=no", "--recursive-errors=no", instance],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{folder}:"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stderr) == (0, "")


def test_every_package_is_installed() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    found = {
        ".".join(file.parent.relative_to(ROOT).parts)
        for name in ("arena", "ratings")
        for file in (ROOT / name).rglob("__init__.py")
    }
    assert set(listed["packages"]) == found
