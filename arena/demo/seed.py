"""The votes a first visitor finds: real ones, imported as any user would."""

from __future__ import annotations

from pathlib import Path

from arena.interfaces import Campaign

VOTES = Path(__file__).with_name("llmfao_crowd_votes.csv")

CAMPAIGN = Campaign(
    id="llmfao-2023",
    kind="offline",
    title="LLMFAO 2023",
    title_zh="LLMFAO 2023",
    description="8,931 crowd votes on the answers of 59 models to 13 prompts, autumn 2023.",
    description_zh="2023 年秋收集的 8,931 张众包投票：59 个模型回答 13 道题。",
    consent="",
    consent_zh="",
    credit="Dmitry Ustalov and llmonitor",
    license="CC BY 4.0",
    source="https://github.com/dustalov/llmfao",
    state="closed",
    position=10,
)
