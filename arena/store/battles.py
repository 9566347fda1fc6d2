"""Battles and turns in SQL. Every move between states is one conditional UPDATE."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import (
    LABEL_STYLE_TABLENAME_PLUS_COL,
    ColumnElement,
    Connection,
    Select,
    Update,
    bindparam,
    case,
    func,
    insert,
    or_,
    select,
    tuple_,
    update,
)

from arena.battle import (
    SIDES,
    SKIPPED,
    Answer,
    Battle,
    BattleState,
    Leak,
    Message,
    Turn,
    TurnState,
    WholeBattle,
    sources_of,
)
from arena.circuit import error_kind
from arena.clock import now, today
from arena.errors import ArenaError, Erased
from arena.interfaces import Act, Report, Room, Running, Summary, Usage
from arena.store.audit import write_act
from arena.store.circuits import note_answers, note_failure
from arena.store.engine import Database, retried
from arena.store.tables import battles, openings, records, reports, turns
from arena.store.usage import add_usage
from arena.together import Together

BATTLE_COLUMNS = [battles.c[name] for name in Battle.__slots__]
_MOST_AT_ONCE = 32
_OPEN = (BattleState.created, BattleState.running)
# Of PostgreSQL, in one round trip: who hangs while holding the lock is put out, and those who wait
# for it give up before they hold all connections, which votes need too.
_TURN_TO_COUNT = select(
    func.set_config("lock_timeout", "2s", True),
    func.set_config("idle_in_transaction_session_timeout", "5s", True),
    func.pg_advisory_xact_lock(0x726F6F6D),
)
_MODELS = (battles.c.model_a, battles.c.model_b)
_REPORT_COLUMNS = [reports.c[name] for name in Report.__slots__]

_failed_model = case((turns.c.void_side == "a", battles.c.model_a), else_=battles.c.model_b)
_vote = (records.c.battle_id == battles.c.id) & (records.c.type == "vote")
_first_turn = (turns.c.battle_id == battles.c.id) & (turns.c.number == 1)
_SUMMARIES = select(
    *BATTLE_COLUMNS, turns.c.prompt, records.c.grade, records.c.both_bad
).select_from(battles.join(turns, _first_turn).outerjoin(records, _vote))


def battle_of(fields: Mapping[Any, Any]) -> Battle:
    return Battle(**{**dict(fields), "state": BattleState(fields["state"])})


def _turn(fields: Mapping[Any, Any]) -> Turn:
    answers = {
        side: None
        if fields[f"text_{side}"] is None
        else Answer(
            text=fields[f"text_{side}"],
            finish=fields[f"finish_{side}"],
            tokens=fields[f"tokens_{side}"],
            ttft=fields[f"ttft_{side}"],
            duration=fields[f"duration_{side}"],
        )
        for side in SIDES
    }
    return Turn(
        battle_id=fields["battle_id"],
        number=fields["number"],
        prompt=fields["prompt"],
        state=TurnState(fields["state"]),
        answer_a=answers["a"],
        answer_b=answers["b"],
        steps=tuple((a, b) for a, b in fields["steps"] or ()),
        void_reason=fields["void_reason"],
        leaks=tuple(Leak(**leak) for leak in fields["leaks"] or ()),
    )


def in_state(*states: BattleState) -> ColumnElement[bool]:
    """The battle is in one of these states. They are written out in the order of an index that
    holds only such battles: with parameters in their place SQLite would read every battle.
    """
    return battles.c.state.in_(
        bindparam("states", states, expanding=True, literal_execute=True, unique=True)
    )


# Of every request: statements that are made once, since making one takes as long as running it.
_BATTLE = select(*BATTLE_COLUMNS).where(battles.c.id == bindparam("battle"))
_TURNS_OF = select(turns).where(turns.c.battle_id == bindparam("battle")).order_by(turns.c.number)
_with_first_turn = (openings.c.battle_id == battles.c.id) & (turns.c.number == 1)
_WHOLE = (
    select(*BATTLE_COLUMNS, *turns.c, openings.c.messages)
    .select_from(battles.join(turns).outerjoin(openings, _with_first_turn))
    .where(battles.c.id == bindparam("battle"))
    .order_by(turns.c.number)
    .set_label_style(LABEL_STYLE_TABLENAME_PLUS_COL)
)
_asked_for = battles.c.voter.in_(bindparam("voters", expanding=True))
_of_voter = case((_asked_for, battles.c.voter)).label("voter")
_open = select(_of_voter).where(in_state(*_OPEN)).subquery()
_RUNNING = select(_open.c.voter, func.count().label("number")).group_by(_open.c.voter)
_INSERT_BATTLE, _INSERT_TURN = insert(battles), insert(turns)


def move(battle_id: ColumnElement[str] | str, target: BattleState) -> Update:
    """The conditional UPDATE into `target`: it touches no row unless the move is legal now."""
    return (
        update(battles)
        .where(battles.c.id == battle_id, battles.c.state.in_(sources_of(target)))
        .values(state=target)
    )


def _won(connection: Connection, statement: Update) -> bool:
    return connection.execute(statement).rowcount == 1


@dataclass(frozen=True, slots=True)
class _New:
    """A battle that is to be added."""

    battle: Battle
    turn: Turn
    opening: Sequence[Message]
    room: Room | None

    @property
    def origin(self) -> str | None:
        return self.battle.redrawn_from or self.battle.continued_from

    def refusal(self, erased: Set[str], running: Counter[str | None]) -> ArenaError | None:
        if self.origin in erased:
            return Erased("The battle that this one goes back to has been erased for good.")
        if self.room is not None:
            try:
                self.room.check(running[self.battle.voter], running.total())
            except ArenaError as refusal:
                return refusal
        return None


class SqlBattles:
    """`interfaces.BattleStore` over SQL. Battles that begin at the same moment share one
    transaction: the places are counted once, while nobody else may."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._adding = Together(self._add, _MOST_AT_ONCE)

    def add(
        self,
        battle: Battle,
        turn: Turn,
        opening: Sequence[Message] = (),
        room: Room | None = None,
    ) -> None:
        new = _New(battle, turn, opening, room)
        # its origin may be locked for long, and strangers need not wait for that
        refusal = self._add([new])[0] if new.origin else self._adding.do(new)
        if refusal is not None:
            raise refusal

    @retried
    def _add(self, brought: Sequence[_New]) -> list[ArenaError | None]:
        """Why each of them was refused; None where it was added."""
        with self._db.write() as connection:
            erased = _erased(connection, [new.origin for new in brought if new.origin])
            running = Counter[str | None]()
            if any(new.room for new in brought):
                self._wait_to_count(connection)
                running = _running(connection, {new.battle.voter for new in brought})
            refusals: list[ArenaError | None] = []
            added: list[_New] = []
            for new in brought:
                refusals.append(new.refusal(erased, running))
                if refusals[-1] is None:
                    running[new.battle.voter] += 1
                    added.append(new)
            _insert(connection, added)
        return refusals

    def get(self, battle_id: str) -> Battle | None:
        with self._db.look() as connection:
            row = connection.execute(_BATTLE, {"battle": battle_id}).first()
        return None if row is None else battle_of(row._mapping)

    def turns(self, battle_id: str) -> list[Turn]:
        with self._db.look() as connection:
            rows = connection.execute(_TURNS_OF, {"battle": battle_id}).mappings()
            return [_turn(row) for row in rows]

    def whole(self, battle_id: str) -> WholeBattle | None:
        with self._db.look() as connection:
            rows = connection.execute(_WHOLE, {"battle": battle_id}).all()
        if not rows:
            return None
        first = rows[0]._mapping
        battle = battle_of({name: first[battles.c[name]] for name in Battle.__slots__})
        said = ({column.name: row._mapping[column] for column in turns.c} for row in rows)
        opening = tuple(Message(**message) for message in first[openings.c.messages] or ())
        return WholeBattle(battle, tuple(map(_turn, said)), opening)

    def turn(self, battle_id: str, number: int) -> Turn | None:
        with self._db.look() as connection:
            row = connection.execute(
                select(turns).where(turns.c.battle_id == battle_id, turns.c.number == number)
            ).first()
        return None if row is None else _turn(row._mapping)

    def running(self, voter: str | None = None) -> Running:
        with self._db.look() as connection:
            running = _running(connection, {voter})
        return Running(running[voter] if voter is not None else 0, running.total())

    def by_state(self) -> dict[str, int]:
        query = select(battles.c.state, func.count()).group_by(battles.c.state)
        is_open = in_state(*_OPEN)
        with self._db.read() as connection:  # each half has an index
            halves = (connection.execute(query.where(half)) for half in (is_open, ~is_open))
            return {state: count for rows in halves for state, count in rows}

    def voids_by_model(self) -> dict[str, int]:
        query = (
            select(_failed_model, func.count())
            .select_from(turns.join(battles, battles.c.id == turns.c.battle_id))
            .where(turns.c.void_side.is_not(None))
            .group_by(_failed_model)
        )
        with self._db.look() as connection:
            return {name: count for name, count in connection.execute(query)}

    def void_rates(self) -> dict[str, dict[str, float]]:
        over = in_state(BattleState.voted, BattleState.skipped, BattleState.void)
        pair = (battles.c.campaign, *_MODELS)
        # a battle knows how many turns it had: their long rows are not read
        played = select(*pair, func.sum(battles.c.turn)).where(over).group_by(*pair)
        who = (battles.c.campaign, _failed_model)
        voided = (
            select(*who, func.count())
            .select_from(turns.join(battles, battles.c.id == turns.c.battle_id))
            .where(turns.c.void_side.is_not(None), over)
            .group_by(*who)
        )
        asked: dict[tuple[str, str], int] = defaultdict(int)
        with self._db.read() as connection:
            for campaign, *models, number in connection.execute(played):
                for model in models:
                    asked[campaign, model] += int(number)
            failed = {(row[0], row[1]): row[2] for row in connection.execute(voided)}
        rates: dict[str, dict[str, float]] = defaultdict(dict)
        for (campaign, model), number in asked.items():
            rates[campaign][model] = failed.get((campaign, model), 0) / number
        return dict(rates)

    def waiting(self) -> list[str]:
        with self._db.look() as connection:
            return list(
                connection.execute(
                    select(battles.c.id)
                    .where(in_state(*_OPEN), battles.c.claimed_by.is_(None))
                    .order_by(battles.c.created_at)
                ).scalars()
            )

    @retried
    def claim(self, battle_id: str, runner: str) -> Battle | None:
        statement = (
            update(battles)
            .where(
                battles.c.id == battle_id,
                battles.c.state.in_(_OPEN),
                battles.c.claimed_by.is_(None),
            )
            .values(state=BattleState.running, claimed_by=runner)
            .returning(*BATTLE_COLUMNS)
        )
        with self._db.write() as connection:
            row = connection.execute(statement).first()
        return None if row is None else battle_of(row._mapping)

    def claimed(self) -> dict[str, list[tuple[str, int]]]:
        query = select(battles.c.claimed_by, battles.c.id, battles.c.turn).where(
            in_state(*_OPEN),
            battles.c.state == BattleState.running,
            battles.c.claimed_by.is_not(None),
        )
        held = defaultdict(list)
        with self._db.look() as connection:
            for runner, battle_id, turn in connection.execute(query):
                held[runner].append((battle_id, turn))
        return dict(held)

    @retried
    def finish_turn(
        self,
        battle_id: str,
        number: int,
        answers: tuple[Answer, Answer],
        steps: Sequence[tuple[int, int]],
        runner: str,
        *,
        leaks: Sequence[Leak] = (),
    ) -> bool:
        values: dict[str, Any] = {
            "state": TurnState.ready,
            "steps": [list(s) for s in steps],
            "leaks": [asdict(leak) for leak in leaks] or None,
        }
        for side, answer in zip(SIDES, answers, strict=True):
            values |= {
                f"text_{side}": answer.text,
                f"finish_{side}": answer.finish,
                f"tokens_{side}": answer.tokens,
                f"ttft_{side}": answer.ttft,
                f"duration_{side}": answer.duration,
            }
        statement = _held(battle_id, number, runner, BattleState.ready).returning(*_MODELS)
        with self._db.write() as connection:
            models = connection.execute(statement).first()
            if models is None:
                return False
            connection.execute(_update_turn(battle_id, number).values(values))
            done = [Usage.of(answer) for answer in answers]
            add_usage(connection, today(), zip(models, done, strict=True))
            note_answers(connection, models)
        return True

    @retried
    def fail_turn(
        self,
        battle_id: str,
        number: int,
        *,
        reason: str,
        side: str | None,
        error: str | None,
        runner: str,
        retry_after: float | None = None,
    ) -> bool:
        """A failed first turn voids the battle; a failed follow-up is withdrawn."""
        if number == 1:
            statement = _held(battle_id, number, runner, BattleState.void).values(ended_at=now())
        else:
            statement = _held(battle_id, number, runner, BattleState.ready)
        failure = {"void_reason": reason, "void_side": side, "void_error": error}
        with self._db.write() as connection:
            models = connection.execute(statement.returning(*_MODELS)).first()
            if models is None:
                return False
            connection.execute(
                _update_turn(battle_id, number).values(state=TurnState.void, **failure)
            )
            if side is not None:
                failed = models[0] if side == "a" else models[1]
                add_usage(connection, today(), [(failed, Usage(failures=1))])
                note_failure(connection, failed, error_kind(error or ""), retry_after)
        return True

    def _wait_to_count(self, connection: Connection) -> None:
        """Until the end of the transaction nobody else counts what runs."""
        if self._db.dialect == "postgresql":  # in SQLite one transaction writes at a time anyway
            connection.execute(_TURN_TO_COUNT).close()

    @retried
    def add_turn(
        self,
        turn: Turn,
        language: str | None = None,
        category_tag: str | None = None,
        consent: str | None = None,
        room: Room | None = None,
    ) -> bool:
        statement = (
            move(turn.battle_id, BattleState.running)
            .where(
                battles.c.state == BattleState.ready,
                battles.c.turn == turn.number - 1,
            )
            .values(turn=turn.number, language=language, category_tag=category_tag, consent=consent)
        )
        owner = select(battles.c.voter).where(battles.c.id == turn.battle_id)
        with self._db.write() as connection:
            if room is not None:
                voter = connection.execute(owner).scalar()
                if voter is None:
                    return False
                self._wait_to_count(connection)
                running = _running(connection, {voter})
                room.check(running[voter], running.total())
            if not _won(connection, statement):
                return False
            connection.execute(_INSERT_TURN, _turn_values(turn))
        return True

    @retried
    def skip(self, battle_id: str) -> bool:
        """Leave the battle; a turn that was running is over with it."""
        statement = move(battle_id, BattleState.skipped).values(ended_at=now())
        running = update(turns).where(
            turns.c.battle_id == battle_id, turns.c.state == TurnState.running
        )
        with self._db.write() as connection:
            if not _won(connection, statement):
                return False
            connection.execute(running.values(state=TurnState.void, void_reason=SKIPPED))
        return True

    @retried
    def request_stop(self, battle_id: str) -> bool:
        statement = (
            update(battles)
            .where(battles.c.id == battle_id, battles.c.state.in_(_OPEN))
            .values(stop_requested=True)
        )
        with self._db.write() as connection:
            return _won(connection, statement)

    def interrupted(self, battle_ids: Iterable[str]) -> dict[str, str]:
        """Of these battles, those the voter ended meanwhile: `stop`, or `leave` if not running."""
        with self._db.look() as connection:
            rows = connection.execute(
                select(battles.c.id, battles.c.state).where(
                    battles.c.id.in_(list(battle_ids)),
                    or_(battles.c.stop_requested, battles.c.state != BattleState.running),
                )
            ).all()
        return {row.id: "stop" if row.state == BattleState.running else "leave" for row in rows}

    # --- lists --------------------------------------------------------------------------------

    def of_voter(
        self, voter: str, *, before: str | None, limit: int, erased: bool = False
    ) -> list[Summary]:
        place = tuple_(battles.c.created_at, battles.c.id)
        query = _SUMMARIES.where(battles.c.voter == voter)
        if not erased:
            query = query.where(battles.c.erased_at.is_(None))
        if before is not None:
            reached = battles.alias()
            begun = select(reached.c.created_at).where(
                reached.c.id == before, reached.c.voter == voter
            )
            query = query.where(place < tuple_(begun.scalar_subquery(), before))
        newest = battles.c.created_at.desc(), battles.c.id.desc()
        return self._summaries(query.order_by(*newest).limit(limit))

    def shared_with(self, model: str, campaigns: Sequence[str], limit: int) -> list[Summary]:
        query = _SUMMARIES.where(
            battles.c.shared_at.is_not(None),
            battles.c.campaign.in_(campaigns),
            or_(battles.c.model_a == model, battles.c.model_b == model),
        )
        newest = battles.c.shared_at.desc(), battles.c.id
        return self._summaries(query.order_by(*newest).limit(limit))

    def _summaries(self, query: Select[Any]) -> list[Summary]:
        with self._db.look() as connection:
            return [
                Summary(
                    battle=battle_of({name: row._mapping[name] for name in Battle.__slots__}),
                    prompt=row.prompt,
                    grade=row.grade,
                    both_bad=row.both_bad,
                )
                for row in connection.execute(query)
            ]

    def kept_of(self, battle_id: str) -> list[str]:
        origin = select(battles.c.id, battles.c.voter).where(battles.c.id == battle_id)
        found = origin.cte(recursive=True)
        # a battle goes back to one of its own voter, whose battles an index holds together
        goes_back = or_(
            battles.c.redrawn_from == found.c.id, battles.c.continued_from == found.c.id
        )
        later = select(battles.c.id, battles.c.voter).where(
            battles.c.voter == found.c.voter, goes_back
        )
        found = found.union(later)
        query = select(battles.c.id).join(found, found.c.id == battles.c.id)
        with self._db.look() as connection:
            return list(connection.execute(query.where(battles.c.erased_at.is_(None))).scalars())

    def kept(self, until: str, limit: int) -> list[str]:
        query = (
            select(battles.c.id)
            .where(battles.c.erased_at.is_(None), battles.c.created_at < until)
            .order_by(battles.c.created_at)
            .limit(limit)
        )
        with self._db.look() as connection:
            return list(connection.execute(query).scalars())

    # --- sharing ------------------------------------------------------------------------------

    @retried
    def share(self, battle_id: str) -> bool:
        statement = (
            update(battles)
            .where(
                battles.c.id == battle_id,
                battles.c.state == BattleState.voted,
                battles.c.erased_at.is_(None),
            )
            .values(shared_at=func.coalesce(battles.c.shared_at, now()))
        )
        with self._db.write() as connection:
            return _won(connection, statement)

    def unshare(self, battle_id: str) -> None:
        with self._db.write() as connection:
            connection.execute(
                update(battles).where(battles.c.id == battle_id).values(shared_at=None)
            )

    # --- reports ------------------------------------------------------------------------------

    @retried
    def report(self, battle_id: str, voter: str, reason: str, side: str | None = None) -> None:
        said = {"reason": reason, "created_at": now(), "handled_at": None}
        earlier = update(reports).where(
            reports.c.battle_id == battle_id,
            reports.c.voter == voter,
            reports.c.side.is_not_distinct_from(side),
        )
        with self._db.write() as connection:
            # so that a report sees another one, or an erasure, of the same moment
            kept = select(battles.c.id).where(
                battles.c.id == battle_id, battles.c.erased_at.is_(None)
            )
            if connection.execute(kept.with_for_update()).first() is None:
                return
            if not _won(connection, earlier.values(said)):
                whose = {"battle_id": battle_id, "voter": voter, "side": side}
                connection.execute(insert(reports).values(said | whose))

    def reports_of(self, voter: str) -> list[Report]:
        query = select(*_REPORT_COLUMNS).where(reports.c.voter == voter).order_by(reports.c.n)
        with self._db.look() as connection:
            return [Report(*row) for row in connection.execute(query)]

    def open_reports(self, limit: int) -> list[Report]:
        query = (
            select(*_REPORT_COLUMNS)
            .where(reports.c.handled_at.is_(None))
            .order_by(reports.c.created_at, reports.c.n)
            .limit(limit)
        )
        with self._db.look() as connection:
            return [Report(*row) for row in connection.execute(query)]

    @retried
    def handle_reports(self, battle_id: str, act: Act) -> bool:
        statement = (
            update(reports)
            .where(reports.c.battle_id == battle_id, reports.c.handled_at.is_(None))
            .values(handled_at=act.at)
        )
        with self._db.write() as connection:
            handled = connection.execute(statement).rowcount > 0
            if handled:
                write_act(connection, act)
        return handled


def _held(battle_id: str, number: int, runner: str, target: BattleState) -> Update:
    """End a turn: only while it is the running one and this runner still holds it."""
    return (
        move(battle_id, target)
        .where(
            battles.c.state == BattleState.running,
            battles.c.turn == number,
            battles.c.claimed_by == runner,
        )
        .values(claimed_by=None, stop_requested=False)
    )


def _erased(connection: Connection, origins: Sequence[str]) -> set[str]:
    """Which of these battles are erased. Nobody erases the others before the transaction ends, so
    that what takes them over is there and can be erased, too."""
    if not origins:
        return set()
    query = select(battles.c.id, battles.c.erased_at).where(battles.c.id.in_(sorted(origins)))
    rows = connection.execute(query.order_by(battles.c.id).with_for_update(read=True))
    return {row.id for row in rows if row.erased_at is not None}


def _running(connection: Connection, voters: Set[str | None]) -> Counter[str | None]:
    """Open battles of each of these voters, and under None those of all others."""
    rows = connection.execute(_RUNNING, {"voters": [*voters]})
    running = Counter[str | None]()
    running.update({row.voter: row.number for row in rows})
    return running


def _insert(connection: Connection, added: Sequence[_New]) -> None:
    if not added:
        return
    names = Battle.__slots__
    rows = [{name: getattr(new.battle, name) for name in names} for new in added]
    connection.execute(_INSERT_BATTLE, rows)
    connection.execute(_INSERT_TURN, [_turn_values(new.turn) for new in added])
    opened = [
        {"battle_id": new.battle.id, "messages": [asdict(message) for message in new.opening]}
        for new in added
        if new.opening
    ]
    if opened:
        connection.execute(insert(openings), opened)


def _turn_values(turn: Turn) -> dict[str, Any]:
    return {name: getattr(turn, name) for name in ("battle_id", "number", "prompt", "state")}


def _update_turn(battle_id: str, number: int) -> Update:
    return update(turns).where(turns.c.battle_id == battle_id, turns.c.number == number)
