"""Long: the voter wrote about 500 tokens or more in all turns, like LMArena's "Longer Query".

Tokens are estimated by `Text.tokens`, the same for every model. Long answers make no category: to
choose votes by what the models did would favour those that write much.
"""

from __future__ import annotations

from collections.abc import Collection

from arena.categories.text import Text

KEY = "long"
TITLE = ("Long prompts", "长提示")

TOKENS = 500


def applies(text: Text, found: Collection[str]) -> bool:
    return text.tokens >= TOKENS
