"""The figures of one board in the reader's language, and where they can be had."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode

from flask import request
from markupsafe import Markup

from arena import board_svg, categories, figures, figures_svg
from arena.boards import OVERALL
from arena.errors import InvalidField, NotFound
from arena.figures import Course, Matrix, Pairs, Row, Table
from arena.interfaces import Campaign
from arena.svg import Picture
from arena.views import blindness, schemas
from arena.views.context import services
from arena.views.language import language, text

NAMES = (
    "intervals",
    "predicted",
    "observed",
    "battles",
    "grades",
    "history",
    "calibration",
    "blindness",
)
TOPS = (10, 20, 30, 60)
"""How many models the matrices may show: as cells and as table they are the square of it."""

COURSES = 5
"""How many models a history shows where none is asked for."""

_TOP = 30


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture, its numbers, and where both can be had."""

    name: str
    picture: Picture
    table: Table
    log_position: int
    numbers: str

    @property
    def markup(self) -> Markup:
        # all text in it was escaped where the elements were made
        return Markup(self.picture.inline())  # noqa: S704


class Gallery:
    """The figures of one board, made one by one; None where there is nothing to show yet."""

    def __init__(
        self, campaign: Campaign, category: str, board: Row, model: str | None = None
    ) -> None:
        self._t: Callable[..., str] = partial(text, language())
        self.campaign, self.category, self.board = campaign, category, board
        self._rated = figures.rated(board)
        self._model = model
        self.top = top()
        self._shown = self._rated[: self.top]
        self.pairs = services().figures.pairs(campaign, category)

    def figure(self, name: str) -> Figure | None:
        """Raises `KeyError` for a name that is none of `NAMES`."""
        return self._MAKERS[name](self)

    def _title(self, name: str) -> tuple[str, str]:
        return self._t("figures.title." + name), self._t("figures.reading." + name)

    def _of_board(self, name: str, picture: Picture, table: Table) -> Figure:
        numbers = self._address("/api/board")
        return Figure(name, picture, table, self.board["log_position"], numbers)

    def _of_pairs(self, name: str, picture: Picture, table: Table, pairs: Pairs) -> Figure:
        numbers = self._address("/api/board/pairs")
        return Figure(name, picture, table, pairs.log_position, numbers)

    def _address(self, path: str, **more: Any) -> str:
        return address(self.campaign, self.category, path, **more)

    def _intervals(self) -> Figure | None:
        if not self._rated:
            return None
        t = self._t
        words = board_svg.Words(
            rank=t("figures.column.rank"),
            model=t("figures.column.model"),
            rating=t("figures.column.rating"),
            votes=t("figures.column.votes"),
            unrated=t("figures.unrated"),
            component=t("figures.component"),
        )
        picture = board_svg.interval_plot(self.board, *self._title("intervals"), words)
        return self._of_board("intervals", picture, figures.interval_table(self.board, t))

    def _predicted(self) -> Figure | None:
        return self._shares("predicted", lambda pairs: pairs.predicted)

    def _observed(self) -> Figure | None:
        return self._shares("observed", figures.observed, figures.votes_between)

    def _shares(
        self,
        name: str,
        share: Callable[[Pairs], figures.OfPair],
        votes: Callable[[Pairs], figures.OfPair] | None = None,
    ) -> Figure | None:
        if self.pairs is None or len(self._shown) < 2:  # noqa: PLR2004  a pair
            return None
        numbers = Matrix.of(self._shown, share(self.pairs))
        picture = figures_svg.matrix(
            numbers,
            *self._title(name),
            shade=figures_svg.share_shade,
            votes=votes and Matrix.of(self._shown, votes(self.pairs)),
        )
        return self._of_pairs(name, picture, numbers.table("share", self._t), self.pairs)

    def _battles(self) -> Figure | None:
        if self.pairs is None or len(self._shown) < 2:  # noqa: PLR2004  a pair
            return None
        numbers = Matrix.of(self._shown, figures.votes_between(self.pairs))
        picture = figures_svg.matrix(
            numbers,
            *self._title("battles"),
            shade=figures_svg.count_shade,
            label="{:.0f}".format,
            unit="",
        )
        return self._of_pairs("battles", picture, numbers.table("whole", self._t), self.pairs)

    def _grades(self) -> Figure | None:
        if not self._rated:
            return None
        graded = figures.is_graded(self.board)
        parts = [(row["name"], figures.outcomes(row, graded=graded)) for row in self._rated]
        names = figures.OUTCOMES[5 if graded else 3]
        words = [(name.replace("_", "-"), self._t("figures.outcome." + name)) for name in names]
        picture = figures_svg.grade_bars(parts, words, *self._title("grades"))
        return self._of_board("grades", picture, figures.grade_table(self.board, self._t))

    def _history(self) -> Figure | None:
        models = models_of_history(self.board, self._model)
        found = services().figures.history(self.campaign, self.category, models)
        names = {row["model"]: row["name"] for row in self.board["rows"]}
        shown = [
            Course(names.get(one["model"], one["model"]), tuple(one["points"]))
            for one in found.document["series"]
            if one["points"]
        ]
        if not any(len(course.points) > 1 for course in shown):
            return None
        picture = figures_svg.courses(shown, *self._title("history"))
        return Figure(
            "history",
            picture,
            figures.course_table(shown, self._t),
            self.board["log_position"],
            self._address("/api/board/history", model=self._model),
        )

    def _calibration(self) -> Figure | None:
        if self.pairs is None or not self.pairs.calibration:
            return None
        t, bins = self._t, self.pairs.calibration
        axes = t("figures.axis.predicted"), t("figures.axis.observed")
        picture = figures_svg.calibration(bins, axes, *self._title("calibration"))
        table = figures.calibration_table(bins, t)
        return self._of_pairs("calibration", picture, table, self.pairs)

    def _blindness(self) -> Figure | None:
        found = blindness.newest(self.campaign) if self.category == OVERALL else None
        if found is None:
            return None
        names = {row["model"]: row["name"] for row in self.board["rows"]}
        rows = [
            (names.get(one["model"], one["model"]), one["told_pair"]) for one in found["models"]
        ]
        picture = figures_svg.blindness(rows, *self._title("blindness"))
        table = figures.blindness_table(found["models"], names, self._t)
        address = f"/api/campaigns/{quote(self.campaign.id)}/blindness"
        return Figure("blindness", picture, table, found["log_position"], address)

    _MAKERS: dict[str, Callable[[Gallery], Figure | None]] = {  # noqa: RUF012  never changed
        "intervals": _intervals,
        "predicted": _predicted,
        "observed": _observed,
        "battles": _battles,
        "grades": _grades,
        "history": _history,
        "calibration": _calibration,
        "blindness": _blindness,
    }


def top() -> int:
    """How many models the matrices are to show; raises `InvalidField`."""
    wish = schemas.whole_number("top", _TOP)
    if not 1 < wish <= TOPS[-1]:
        raise InvalidField(f"'top' must be a number from 2 to {TOPS[-1]}.", field="top")
    return wish


def models_of_history(board: Row, model: str | None) -> list[str]:
    """The best of the board, or the model that is asked for; raises `NotFound`."""
    if model is None:
        return [row["model"] for row in figures.rated(board)[:COURSES]]
    if all(row["model"] != model for row in board["rows"]):
        raise NotFound("This model is not on this board.", field="model")
    return [model]


def address(campaign: Campaign, category: str, path: str, **more: Any) -> str:
    """A place of a board; what is None is left out."""
    query = {"campaign": campaign.id, "category": None if category == OVERALL else category, **more}
    return (
        f"{path}?{urlencode({name: value for name, value in query.items() if value is not None})}"
    )


def file_address(campaign: Campaign, category: str, model: str | None, name: str, form: str) -> str:
    """Where a picture can be saved, as it is shown on this page and in its language."""
    more = {"model": model, "top": request.args.get("top"), "lang": language()}
    return address(campaign, category, f"/board/figures/{name}.{form}", **more)


def category_title(key: str) -> str:
    """What a board's category is called in the reader's language."""
    if key == OVERALL:
        return text(language(), "figures.overall")
    title = categories.title(key)
    return title.zh if language() == "zh" else title.en
