"""Turns values into pages and fragments. Every value is escaped; what would be invisible is spelled out."""

from __future__ import annotations

import unicodedata
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from fastapi import Request
from fastapi.responses import HTMLResponse
from fastapi.templating import Jinja2Templates
from markupsafe import Markup

from receiver.errors import GitmedicError

#: the cookie in which a browser keeps how it wants to be shown
THEME = "gitmedic_theme"
THEMES = ("auto", "light", "dark")
_KEPT = "\n\t"
_UNSEEN = ("Cc", "Cf", "Co", "Cs", "Cn")


def seen(value: Any) -> Any:
    """Outside text as it is shown: what would be invisible or turn the line around is spelled out."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    if value.isprintable():  # by far the most: nothing to spell out
        return value
    return "".join(
        f"\u27e8U+{ord(c):04X}\u27e9" if c not in _KEPT and unicodedata.category(c) in _UNSEEN else c for c in value
    )


_templates = Jinja2Templates(
    env=jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(str(files("receiver.web") / "templates"))),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=seen,
        trim_blocks=True,
        lstrip_blocks=True,
    )
)


def page(request: Request, name: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """A template's answer."""
    person = getattr(request.state, "person", None)
    values["who"] = person.name if person else None
    values.setdefault("refresh", 0)
    values.setdefault("here", "")
    theme = request.cookies.get(THEME, "auto")
    values["theme"] = theme if theme in THEMES else "auto"
    values.setdefault("notices", getattr(request.state, "notices", ()))
    values["is_demo"] = request.app.state.parts.playground is not None
    return _templates.TemplateResponse(request, name, values, status_code=status)


def fragment(name: str, **values: Any) -> str:
    """A piece of a page."""
    return _templates.env.get_template(name).render(values)


def error_page(request: Request, error: GitmedicError, status: int) -> HTMLResponse:
    """What went wrong, and what to do."""
    return page(request, "error.html", status=status, error=error.message, next_step=getattr(error, "next_step", ""))
