"""`/join/<secret>`: an invitation followed."""

from __future__ import annotations

from flask import Blueprint, Response, url_for

from arena.campaigns import Reader
from arena.views.context import add_invitation, services

blueprint = Blueprint("invite", __name__)


@blueprint.get("/join/<secret>")
def join(secret: str) -> Response:
    """Remember the invitation and go where it leads; raises `InvitationNeeded`."""
    found = services()
    invitation = found.campaigns.accept(secret)
    campaign = found.campaigns.get(invitation.campaign, Reader((invitation.digest,)))
    page = "pages.battle" if campaign.state == "open" else "pages.board"
    response = Response(status=303, headers={"Location": url_for(page, campaign=campaign.id)})
    response.headers["Referrer-Policy"] = "no-referrer"  # the address is the secret
    add_invitation(response, invitation.digest)
    return response
