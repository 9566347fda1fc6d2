"""The operator's campaigns and invitations."""

from __future__ import annotations

from typing import Any

from flask import redirect, request, url_for
from werkzeug.wrappers import Response

from arena.campaigns import LIMITS, OPERATOR, drafted, problems
from arena.clock import now
from arena.errors import InvalidField
from arena.interfaces import Campaign
from arena.sealing import LONGEST_STATEMENT, sealing_record
from arena.views.admin import operator_blueprint, operator_page, plain
from arena.views.context import services

blueprint = operator_blueprint("admin_campaigns", __name__)

_DAYS = (7, 30, 90, 365)


@blueprint.get("/campaigns")
def campaigns() -> str:
    """Every campaign, private and closed ones too."""
    found = services().campaigns
    guests = [one.campaign for one in found.invitations() if one.is_live(now())]
    return operator_page(
        "admin/campaigns.html",
        campaigns=found.visible(OPERATOR),
        invited={campaign: guests.count(campaign) for campaign in guests},
    )


@blueprint.get("/campaigns/new")
def blank() -> str:
    """The form of a new campaign."""
    return _form(drafted("", {}), is_new=True)


@blueprint.post("/campaigns")
def create() -> Response | tuple[str, int]:
    """Add a campaign; it takes battles at once."""
    campaign_id, texts = request.form.get("id", "").strip(), _texts()
    draft = drafted(campaign_id, texts)
    wrong = problems(draft)
    if not wrong:
        try:
            services().campaigns.create(campaign_id, texts)
        except InvalidField:
            wrong = {"id": "taken"}
    if wrong:
        return _form(draft, is_new=True, wrong=wrong), InvalidField.status
    return _to(campaign_id)


@blueprint.get("/campaigns/<campaign_id>")
def campaign(campaign_id: str) -> str:
    """One campaign: its texts and rules, its state, its invitations."""
    return _form(_campaign(campaign_id))


@blueprint.post("/campaigns/<campaign_id>")
def change(campaign_id: str) -> Response | tuple[str, int]:
    """Give it other texts and rules."""
    before, texts = _campaign(campaign_id), _texts()
    draft = drafted(campaign_id, texts, before)
    wrong = problems(draft)
    if not wrong:
        try:
            services().campaigns.change(before, texts)
        except InvalidField:
            wrong = {"publish_text": "given"}
    if wrong:
        return _form(draft, wrong=wrong), InvalidField.status
    return _to(campaign_id, saved=1)


@blueprint.post("/campaigns/<campaign_id>/state")
def state(campaign_id: str) -> Response:
    """Let it take battles, or no more."""
    services().campaigns.set_open(_campaign(campaign_id), request.form.get("state") == "open")
    return _to(campaign_id)


@blueprint.post("/campaigns/<campaign_id>/invitations")
def invite(campaign_id: str) -> str:
    """Make an invitation and show its link, this once."""
    invited = _campaign(campaign_id)
    days = request.form.get("days", "")
    secret = services().campaigns.invite(
        invited,
        plain(request.form.get("note", ""))[: LIMITS["title"]],
        int(days) if days in map(str, _DAYS) else None,
    )
    return _form(invited, link=url_for("invite.join", secret=secret, _external=True))


@blueprint.post("/campaigns/<campaign_id>/invitations/<digest>/revoke")
def revoke(campaign_id: str, digest: str) -> Response:
    """End an invitation."""
    services().campaigns.revoke(digest)
    return _to(campaign_id)


@blueprint.post("/campaigns/<campaign_id>/seal")
def seal(campaign_id: str) -> Response | tuple[str, int]:
    """Seal its boards, for ever."""
    found, sealed = services(), _campaign(campaign_id)
    given = {name: request.form.get(name, "") for name in ("statement", "statement_zh")}
    wrong: dict[str, str] = {}
    if "sure" not in request.form:
        wrong["sure"] = "not_sure"
    try:
        sealing_record(sealed, **given)
    except InvalidField as error:
        name = error.field or "statement"
        wrong[name] = "too_long" if given[name].strip() else "missing"
    if wrong:
        return _form(sealed, given=given, wrong=wrong), InvalidField.status
    found.sealings.seal(sealed, **given)
    found.live.wake_worker()
    return _to(campaign_id, sealed=1)


def _campaign(campaign_id: str) -> Campaign:
    return services().campaigns.get(campaign_id, OPERATOR)


def _to(campaign_id: str, **values: Any) -> Response:
    address = url_for("admin_campaigns.campaign", campaign_id=campaign_id, **values)
    return redirect(address, 303)


def _form(shown: Campaign, *, is_new: bool = False, **values: Any) -> str:
    at = now()
    invitations = [
        (one, "revoked" if one.revoked_at else "live" if one.is_live(at) else "expired")
        for one in services().campaigns.invitations()
        if one.campaign == shown.id
    ]
    return operator_page(
        "admin/campaign.html",
        campaign=shown,
        is_new=is_new,
        invitations=invitations,
        sealings=[] if is_new else services().sealings.told(shown),
        limits=LIMITS | {"statement": LONGEST_STATEMENT, "statement_zh": LONGEST_STATEMENT},
        days=_DAYS,
        **values,
    )


def _texts() -> dict[str, Any]:
    """The fields of the form, as the operator meant them."""
    texts: dict[str, Any] = {name: plain(request.form.get(name, "")) for name in LIMITS}
    flags = {"public": "private" not in request.form, "publish_text": "publish" in request.form}
    return texts | flags
