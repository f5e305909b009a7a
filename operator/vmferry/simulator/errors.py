"""The errors of the simulated services, with the texts of the real services."""

from __future__ import annotations


class ApiError(Exception):
    """An error response; each service renders it in its own shape."""

    status = 500

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class BadRequestError(ApiError):
    status = 400


class UnauthorizedError(ApiError):
    status = 401


class ForbiddenError(ApiError):
    status = 403

    @classmethod
    def policy(cls, rule: str) -> ForbiddenError:
        return cls(f"Policy doesn't allow {rule} to be performed.")


class NotFoundError(ApiError):
    status = 404


class NotAcceptableError(ApiError):
    status = 406


class ConflictError(ApiError):
    status = 409

    @classmethod
    def state(cls, action: str, server_id: str, attribute: str, value: str | None) -> ConflictError:
        if value is None:
            return cls(f"Instance {server_id} is in an invalid state for '{action}'")
        return cls(f"Cannot '{action}' instance {server_id} while it is in {attribute} {value}")


def no_such_resource() -> NotFoundError:
    """Nova's response to an unknown path, or to a method that the microversion does not have."""
    return NotFoundError("The resource could not be found.")


class RefusalError(Exception):
    """A refusal by the conductor or a compute host; its text becomes the error of the instance action's event.

    `tries_next`: the live-migration task drops this host and asks the scheduler for another host. `kind` is the class
    name of Nova's exception, which Nova shows when a compute host repeats an error of another compute host.
    """

    def __init__(self, message: str, *, tries_next: bool = False, kind: str = "MigrationPreCheckError") -> None:
        super().__init__(message)
        self.message = message
        self.tries_next = tries_next
        self.kind = kind


class NoValidHostError(RefusalError):
    """The scheduler found no host. The text has a reason when filters removed all hosts, and none when Placement found
    none."""

    NOT_ENOUGH = "There are not enough hosts available."

    def __init__(self, reason: str) -> None:
        super().__init__(f"No valid host was found. {reason}")
