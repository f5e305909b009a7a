"""`--wait` and `--watch`: poll an object until it has finished, or does not proceed without intervention."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from vmferry.cli.ferry.kube import FerryError
from vmferry.cli.ferry.outcome import Object, Standing, outcome, read
from vmferry.cli.ferry.screen import Screen
from vmferry.cli.ferry.views import frame
from vmferry.cli.ferry.views.page import title, withdrawal
from vmferry.cli.verdict import ExitStatus
from vmferry.runtime.kube_api import Body, NoConnectionError, NotFoundError

#: seconds between two polls
_LOOK = 1.0
#: how long a cluster may fail to respond before the command gives up
_PATIENCE = timedelta(seconds=30)
#: how long an operator may take to reconcile before the command warns
_SILENCE = timedelta(seconds=20)


@dataclass(frozen=True, slots=True)
class Waiting:
    """How to wait, and where to report it."""

    now: Callable[[], datetime]
    sleep: Callable[[float], None]
    #: prints a note for people, not to the data's stream
    note: Callable[[str], None]
    screen: Screen | None = None
    timeout: timedelta | None = None


def wait(get: Callable[[], Body], first: Body, how: Waiting) -> Body:
    """Return the object once its standing is final. Raises FerryError, also after a timeout or if the object was
    deleted."""
    began = heard = how.now()
    noted = False
    body = first
    try:
        while True:
            obj = read(body)
            standing = outcome(obj).standing
            if standing.final:
                return body
            now = how.now()
            if how.screen is not None:
                how.screen.show(frame.frame(obj, now), frame.line(obj))
            if how.timeout is not None and now - began >= how.timeout:
                raise FerryError(_in_vain(obj, standing))
            if standing is Standing.UNSEEN and not noted and now - began >= _SILENCE:
                noted = True
                how.note("the operator has not looked at it yet: is it running?")
            how.sleep(_LOOK)
            try:
                body = get()
                heard = how.now()
            except NotFoundError as error:
                raise FerryError(f"{title(obj)} was deleted meanwhile", ExitStatus.BLOCKED) from error
            except NoConnectionError:
                if how.now() - heard >= _PATIENCE:
                    raise
    finally:
        if how.screen is not None:
            how.screen.clear()


def wait_until_gone(get: Callable[[], Body], first: Body, how: Waiting) -> None:
    """Wait until the object's finalizers are removed and it no longer exists. Raises FerryError."""
    began = heard = how.now()
    body = first
    uid = first["metadata"].get("uid")
    try:
        while True:
            try:
                body = get()
                heard = how.now()
            except NotFoundError:
                return
            except NoConnectionError:
                if how.now() - heard >= _PATIENCE:
                    raise
            if body["metadata"].get("uid") != uid:
                return
            obj = read(body)
            now = how.now()
            if how.screen is not None:
                how.screen.show(frame.frame(obj, now), frame.line(obj))
            if how.timeout is not None and now - began >= how.timeout:
                raise FerryError(f"{title(obj)} is still there: {outcome(obj).message}")
            how.sleep(_LOOK)
    finally:
        if how.screen is not None:
            how.screen.clear()


def _in_vain(obj: Object, standing: Standing) -> str:
    stays = withdrawal(obj, before=". ")
    if standing is Standing.UNSEEN:
        return f"{title(obj)}: the operator has not looked at it in time: is it running?{stays}"
    why = outcome(obj).message or obj.status.phase
    return f"{title(obj)} is not done in time: {why}; it goes on in the cluster{stays}"
