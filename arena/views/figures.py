"""Pictures of a board with their numbers, and a page for each model."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, render_template, request
from markupsafe import Markup

from arena import board_svg, categories, figures, figures_svg, roster
from arena.boards import OVERALL
from arena.errors import InvalidField, NotFound
from arena.figures import Course, Matrix, Pairs, Row, Table
from arena.interfaces import Campaign, Summary
from arena.svg import Picture
from arena.views import context, schemas
from arena.views.context import services
from arena.views.language import language, moment, remember, template_words, text
from arena.views.openapi import operation

blueprint = Blueprint("figures", __name__)
blueprint.after_request(remember)

NAMES = ("intervals", "predicted", "observed", "battles", "grades", "history", "calibration")
TOPS = (10, 20, 30, 60)
"""How many models the matrices may show: as cells and as table they are the square of it."""

_TOP = 30
_COURSES = 5
_OPPONENTS = 5
_BATTLES = 10

_BOARD = {
    "campaign": "Default: the open campaign.",
    "category": f"Default: {OVERALL}.",
}
_VALIDATOR = {"If-None-Match": "The `ETag` you have: 304 while it is the newest."}


# --- numbers ------------------------------------------------------------------------------------


@blueprint.get("/api/board/pairs")
@operation(
    "What every two models of a board did against each other",
    answers={200: schemas.PairsView, 304: None},
    refusals=(404, 422, 503),
    query=_BOARD,
    headers=_VALIDATOR,
    gives={"ETag": "Changes with the counts, at most every 30 seconds."},
)
def pairs() -> Response:
    campaign, category = _place()
    found = services().figures.pairs(campaign, category)
    if found is None:
        raise NotFound("No pairs of this board have been published. /api/boards lists the boards.")
    _, answer = found
    return context.kept_by_validator(campaign, answer.body, answer.etag)


@blueprint.get("/api/board/history")
@operation(
    "How ratings went: models on the boards that are kept, oldest first",
    answers={200: schemas.HistoryView, 304: None},
    refusals=(404, 422, 503),
    query={**_BOARD, "model": f"Default: the {_COURSES} best of the board."},
    headers=_VALIDATOR,
    gives={"ETag": "Changes with the points."},
)
def history() -> Response:
    campaign, category = _place()
    board = services().boards.get(campaign, category).document
    models = _models_of_history(board, schemas.word("model"))
    answer = services().figures.history(campaign, category, models)
    return context.kept_by_validator(campaign, answer.body, answer.etag)


def _models_of_history(board: Row, model: str | None) -> list[str]:
    """The best of the board, or the model that is asked for; raises `NotFound`."""
    if model is None:
        return [row["model"] for row in figures.rated(board)[:_COURSES]]
    if all(row["model"] != model for row in board["rows"]):
        raise NotFound("This model is not on this board.", field="model")
    return [model]


def _place() -> tuple[Campaign, str]:
    """The campaign and the category that are asked for."""
    campaign = context.campaign(schemas.word("campaign"))
    return campaign, schemas.word("category") or OVERALL


# --- pictures -----------------------------------------------------------------------------------


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
        self.top = _top()
        self._shown = self._rated[: self.top]
        found = services().figures.pairs(campaign, category)
        self.pairs: Pairs | None = None if found is None else found[0]

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
        return _address(self.campaign, self.category, path, **more)

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
        models = _models_of_history(self.board, self._model)
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

    _MAKERS: dict[str, Callable[[Gallery], Figure | None]] = {  # noqa: RUF012  never changed
        "intervals": _intervals,
        "predicted": _predicted,
        "observed": _observed,
        "battles": _battles,
        "grades": _grades,
        "history": _history,
        "calibration": _calibration,
    }


def _top() -> int:
    top = schemas.whole_number("top", _TOP)
    if not 1 < top <= TOPS[-1]:
        raise InvalidField(f"'top' must be a number from 2 to {TOPS[-1]}.", field="top")
    return top


def _address(campaign: Campaign, category: str, path: str, **more: Any) -> str:
    """A place of a board; what is None is left out."""
    query = {"campaign": campaign.id, "category": None if category == OVERALL else category, **more}
    return (
        f"{path}?{urlencode({name: value for name, value in query.items() if value is not None})}"
    )


def _file(campaign: Campaign, category: str, model: str | None, name: str, form: str) -> str:
    """Where a picture can be saved, as it is shown on this page and in its language."""
    more = {"model": model, "top": request.args.get("top"), "lang": language()}
    return _address(campaign, category, f"/board/figures/{name}.{form}", **more)


@blueprint.get("/board/figures")
def page() -> str:
    campaign, category = _place()
    found = services()
    offered = found.boards.offered(campaign).get(campaign.id, {})
    try:
        board: Row | None = found.boards.get(campaign, category).document
    except NotFound:
        if category != OVERALL:
            raise
        board = None  # the worker has not published yet
    gallery = None if board is None else Gallery(campaign, category, board)
    return render_template(
        "figures.html",
        page="board",
        campaign=campaign,
        category=category,
        board=board,
        gallery=gallery,
        figures=[] if gallery is None else [gallery.figure(name) for name in NAMES],
        names=NAMES,
        tops=TOPS,
        campaigns=context.campaigns(),
        categories=[(key, _category_title(key)) for key in offered],
        category_title=_category_title(category),
        address=partial(_address, campaign, category),
        files=partial(_file, campaign, category, None),
        top=_top(),
        **template_words(),
    )


def _category_title(key: str) -> str:
    if key == OVERALL:
        return text(language(), "figures.overall")
    title = categories.title(key)
    return title.zh if language() == "zh" else title.en


@blueprint.get("/board/figures/<name>.<form>")
def file(name: str, form: str) -> Response:
    """A picture as SVG or its numbers as CSV, to keep."""
    if name not in NAMES or form not in ("svg", "csv"):
        raise NotFound("There is no such picture.")
    campaign, category = _place()
    board = services().boards.get(campaign, category).document
    gallery = Gallery(campaign, category, board, schemas.word("model"))
    figure = gallery.figure(name)
    if figure is None:
        raise NotFound("There are no votes for this picture yet.")
    parts = (campaign.id, *([category] if category != OVERALL else []), name)
    kept = re.sub(r"[^A-Za-z0-9.-]+", "-", "-".join(["arena", *parts]))
    content = figure.table.to_csv() if form == "csv" else _svg(gallery, figure)
    return Response(
        content,
        mimetype={"csv": "text/csv", "svg": "image/svg+xml"}[form],
        headers={"Content-Disposition": f'attachment; filename="{kept}.{form}"'},
    )


def _svg(gallery: Gallery, figure: Figure) -> str:
    lang, campaign = language(), gallery.campaign
    title = campaign.title_zh if lang == "zh" and campaign.title_zh else campaign.title
    parts = [title, _category_title(gallery.category)]
    parts += [text(lang, "board.as_of", position=f"{figure.log_position:,}")]
    parts += [moment(lang, gallery.board["published_at"])]
    return figure.picture.file(" · ".join(parts), [figure.picture.description])


# --- a model ------------------------------------------------------------------------------------


@blueprint.get("/models/<path:model>")
def model(model: str) -> str:
    campaign, profile, board = _known(model)
    row = next((row for row in board["rows"] if row["model"] == model), None) if board else None
    gallery = None if board is None else Gallery(campaign, OVERALL, board, model)
    is_rated = row is not None and row["rating"] is not None
    opponents = gallery.pairs.opponents(model) if is_rated and gallery and gallery.pairs else []
    half = min(_OPPONENTS, (len(opponents) + 1) // 2)
    weakest, strongest = opponents[:half], opponents[half:][-_OPPONENTS:][::-1]
    names = {} if board is None else {row["model"]: row["name"] for row in board["rows"]}
    return render_template(
        "model.html",
        page="board",
        model=model,
        profile=profile,
        campaign=campaign,
        elsewhere=_campaigns_of(model),
        board=board,
        row=row if is_rated else None,
        void_rate=row and row["void_rate"],
        outcomes=_outcomes(board, row) if board and row and is_rated else [],
        history=gallery.figure("history") if gallery and is_rated else None,
        weakest=weakest,
        strongest=strongest,
        few=figures.FEW_VOTES,
        names=names,
        strengths=_strengths(campaign, model, board) if board and is_rated else [],
        category_title=_category_title,
        battles=_shared(model, campaign),
        files=partial(_file, campaign, OVERALL, model),
        **template_words(),
    )


def _known(model: str) -> tuple[Campaign, dict[str, Any], Row | None]:
    """The campaign to show, what is known of the model, and the board.

    Raises `NotFound` where the reader may see no campaign that has the model.
    """
    if "\x00" in model:
        raise NotFound("There is no such model.")
    wish = schemas.word("campaign")
    tried = context.campaigns() if wish is None else [context.campaign(wish)]
    listed = {
        one["id"]: one for one in roster.public(services().store.roster.history(), _ids(tried))
    }
    boards = [(campaign, _board(campaign)) for campaign in tried]
    for campaign, board in boards:
        rows = [] if board is None else board["rows"]
        row = next((row for row in rows if row["model"] == model), None)
        if row is not None:
            return campaign, {**row, **listed.get(model, {})}, board
    if model in listed and boards:
        return boards[0][0], listed[model], boards[0][1]
    raise NotFound("There is no such model on the boards that you may see.")


def _ids(campaigns: list[Campaign]) -> set[str]:
    return {campaign.id for campaign in campaigns}


def _board(campaign: Campaign, category: str = OVERALL) -> Row | None:
    try:
        return services().boards.get(campaign, category).document
    except NotFound:
        return None  # not published yet


def _campaigns_of(model: str) -> list[Campaign]:
    """The campaigns on whose boards the model stands."""
    boards = ((campaign, _board(campaign)) for campaign in context.campaigns())
    return [
        campaign
        for campaign, board in boards
        if board is not None and any(row["model"] == model for row in board["rows"])
    ]


def _outcomes(board: Row, row: Row) -> list[tuple[str, int]]:
    """The model's votes in parts, by name."""
    parts = figures.outcomes(row, graded=figures.is_graded(board))
    return list(zip(figures.OUTCOMES[len(parts)], parts, strict=True))


def _strengths(campaign: Campaign, model: str, whole: Row) -> list[figures.Strength]:
    """The model on the boards of all categories, best first."""
    offered = services().boards.offered(campaign).get(campaign.id, {})
    found = [
        strength
        for category in offered
        if category != OVERALL
        and (board := _board(campaign, category)) is not None
        and (strength := figures.strength(model, category, board, whole)) is not None
    ]
    return sorted(found, key=lambda one: -one.lead)


def _shared(model: str, campaign: Campaign) -> list[Summary]:
    return services().store.battles.shared_with(model, [campaign.id], _BATTLES)
