"""A probe tells the class of a trouble of the cloud, and none of the cloud's words."""

from __future__ import annotations

import pytest

from vmferry.runtime.operator import trouble_class

CLASSES = {
    'cannot log in: BadRequest: body="{\\"secret\\": \\"S3CRET\\"}" (HTTP 400)': "cannot log in (HTTP 400)",
    "cannot log in: Unauthorized: This requires authentication. (HTTP 401)": "cannot log in (HTTP 401)",
    "cannot log in: ConnectFailure: Unable to reach http://u:S3CRET@keystone": "cannot log in",
    "GET /servers/detail: HTTP 500 S3CRET": "the cloud cannot be read (HTTP 500)",
    "GET /servers/detail: HTTP 5000 S3CRET HTTP 12": "the cloud cannot be read",
}


@pytest.mark.parametrize(("trouble", "told"), CLASSES.items(), ids=CLASSES.values())
def test_the_class_of_a_trouble(trouble: str, told: str) -> None:
    assert trouble_class(trouble) == told
