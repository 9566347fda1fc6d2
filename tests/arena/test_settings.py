"""Settings: read from the environment, refused clearly, documented, and the key made once."""

from __future__ import annotations

import stat
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from arena.errors import BadSetting
from arena.settings import Settings, markdown_table, variables

README = Path(__file__).parents[2] / "README.md"


def settings(tmp_path: Path, **environ: str) -> Settings:
    return Settings.from_environment({"ARENA_DATA": str(tmp_path / "data"), **environ})


def test_an_empty_environment_gives_the_documented_defaults(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    defaults = Settings.from_environment({})
    assert defaults.data == tmp_path / "data"
    assert defaults.database_url == f"sqlite:///{tmp_path}/data/arena.db"
    assert defaults.redis_url is None
    assert (defaults.host, defaults.port) == ("127.0.0.1", 8000)
    assert defaults.config == tmp_path / "arena.toml"
    assert defaults.admin_token is None
    assert defaults.cookie_secure is False
    assert (defaults.tick_ms, defaults.stall_seconds, defaults.total_seconds) == (100, 30, 180)
    assert defaults.log_level == "INFO"


def test_an_empty_variable_counts_as_not_set(tmp_path: Path) -> None:
    assert settings(tmp_path, PORT="", REDIS_URL=" ") == settings(tmp_path)


def test_the_default_database_lies_in_the_data_folder(tmp_path: Path) -> None:
    assert settings(tmp_path).database_url == f"sqlite:///{tmp_path}/data/arena.db"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_spelling_of_postgresql_uses_the_installed_driver(
    tmp_path: Path, scheme: str
) -> None:
    made = settings(tmp_path, DATABASE_URL=f"{scheme}://u:p@host/db?sslmode=require")
    assert made.database_url == "postgresql+psycopg://u:p@host/db?sslmode=require"


@pytest.mark.parametrize(
    ("variable", "value", "accepted"),
    [
        ("PORT", "0", "whole number from 1 to 65535"),
        ("PORT", "80_00", "whole number from 1 to 65535"),
        ("PORT", "eighty", "whole number from 1 to 65535"),
        ("ARENA_TICK_MS", "-5", "whole number from 10 to 5000"),
        ("ARENA_STALL_SECONDS", "nan", "number of seconds above 0"),
        ("ARENA_STALL_SECONDS", "0", "number of seconds above 0"),
        ("ARENA_STALL_SECONDS", "soon", "number of seconds above 0"),
        ("ARENA_COOKIE_SECURE", "maybe", "true or false"),
        ("ARENA_LOG_LEVEL", "loud", "debug, info, warning or error"),
        ("DATABASE_URL", "mysql://root@host/db", "sqlite:///FILE or postgresql://"),
        ("DATABASE_URL", "sqlite://", "sqlite:///FILE or postgresql://"),
        ("DATABASE_URL", "sqlite:///:memory:", "sqlite:///FILE or postgresql://"),
        ("REDIS_URL", "localhost:6379", "redis://HOST:PORT/0"),
        ("ARENA_ADMIN_TOKEN", "short", "at least 16 characters"),
        ("ARENA_SECRET_KEY", "short", "at least 32 characters"),
        ("ARENA_SIGNING_KEY", "0" * 63, "64 hexadecimal digits"),
        ("ARENA_SIGNING_KEY", "z" * 64, "64 hexadecimal digits"),
    ],
)
def test_a_bad_value_is_refused_naming_the_variable_and_what_is_accepted(
    tmp_path: Path, variable: str, value: str, accepted: str
) -> None:
    with pytest.raises(BadSetting) as refused:
        settings(tmp_path, **{variable: value})
    message = str(refused.value)
    assert message.startswith(variable)
    assert accepted in message
    assert "\n" not in message


SECRETS = {
    "DATABASE_URL": "postgresql://user:hunter2hunter2@host/db",
    "REDIS_URL": "redis://:hunter2hunter2@host:6379/0",
    "ARENA_ADMIN_TOKEN": "hunter2hunter2hunter2",
    "ARENA_SECRET_KEY": "hunter2" * 8,
}
SIGNING_KEY = "5" * 63 + "a"


def test_no_secret_shows_in_the_repr(tmp_path: Path) -> None:
    made = settings(tmp_path, **SECRETS)
    assert made.admin_token == SECRETS["ARENA_ADMIN_TOKEN"]
    assert "hunter2" not in repr(made)


@pytest.mark.parametrize("variable", SECRETS)
def test_no_secret_shows_in_a_refusal(tmp_path: Path, variable: str) -> None:
    bad = "hunter2" if "://" not in SECRETS[variable] else f"bogus+{SECRETS[variable]}"
    with pytest.raises(BadSetting) as refused:
        settings(tmp_path, **{variable: bad})
    assert "hunter2" not in str(refused.value)


def test_the_secret_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    first = settings(tmp_path).secret_key()
    file = tmp_path / "data" / "secret.key"
    assert len(first) >= 32
    assert settings(tmp_path).secret_key() == first
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["secret.key"], "no draft is left"


def _ask_for_key(data: str) -> str:
    return Settings.from_environment({"ARENA_DATA": data}).secret_key()


def test_processes_that_ask_at_the_same_time_get_the_same_secret_key(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        for round_number in range(5):
            data = str(tmp_path / f"data-{round_number}")
            assert len(set(pool.map(_ask_for_key, [data] * 8))) == 1


def test_a_given_secret_key_is_used_and_nothing_is_written(tmp_path: Path) -> None:
    assert settings(tmp_path, ARENA_SECRET_KEY="k" * 40).secret_key() == "k" * 40
    assert not (tmp_path / "data").exists()


def test_a_damaged_secret_key_is_refused_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "data" / "secret.key"
    file.parent.mkdir()
    file.write_text("abc\n")
    with pytest.raises(BadSetting, match=r"secret\.key is shorter than 32 characters"):
        settings(tmp_path).secret_key()
    assert file.read_text() == "abc\n"


def test_the_signing_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    first = settings(tmp_path).signer()
    file = tmp_path / "data" / "signing.key"
    assert settings(tmp_path).signer().verifier_key == first.verifier_key
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = settings(tmp_path / "other", ARENA_SIGNING_KEY=file.read_text().strip())
    assert again.signer().verifier_key == first.verifier_key
    assert not again.data.exists(), "a given key is kept nowhere"


def test_machines_that_share_a_database_sign_alike_by_the_secret_that_they_share(
    tmp_path: Path,
) -> None:
    url, secret = "postgresql://arena@db/arena", "s" * 32
    one, other = (
        settings(tmp_path / name, DATABASE_URL=url, ARENA_SECRET_KEY=secret).signer()
        for name in ("one", "other")
    )
    assert one.verifier_key == other.verifier_key
    given = settings(
        tmp_path, DATABASE_URL=url, ARENA_SECRET_KEY=secret, ARENA_SIGNING_KEY=SIGNING_KEY
    )
    assert given.signing_key() == SIGNING_KEY
    assert settings(tmp_path, DATABASE_URL=url).shared_signing_key() is None
    alone = settings(tmp_path, ARENA_SECRET_KEY=secret)
    assert alone.shared_signing_key() is None
    assert alone.signer().verifier_key != one.verifier_key


def test_a_signing_key_is_as_secret_as_any(tmp_path: Path) -> None:
    assert "55555" not in repr(settings(tmp_path, ARENA_SIGNING_KEY=SIGNING_KEY))
    with pytest.raises(BadSetting) as refused:
        settings(tmp_path, ARENA_SIGNING_KEY=SIGNING_KEY + "5")
    assert "55555" not in str(refused.value)


def test_a_damaged_signing_key_is_refused_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "data" / "signing.key"
    file.parent.mkdir()
    file.write_text("g" * 64)
    with pytest.raises(BadSetting, match=r"signing\.key is not 64 .* restore it from a backup"):
        settings(tmp_path).signer()
    assert file.read_text() == "g" * 64


def test_every_setting_is_documented_in_the_readme() -> None:
    assert markdown_table() in README.read_text("utf-8"), (
        "README.md must hold the output of: python -m arena.settings"
    )


def test_every_setting_says_what_it_means() -> None:
    assert all(one.help.endswith((".", "`")) or "`." in one.help for one in variables())
    names = [one.name for one in variables()]
    assert len(names) == len(set(names))
