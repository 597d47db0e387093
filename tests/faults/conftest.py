"""The hosts of each test."""

import pytest
from hosts import connect, two_hosts


@pytest.fixture
def hosts():
    """A host for servers and one for clients, without a link."""
    with two_hosts() as hosts:
        yield hosts


@pytest.fixture
def linked(hosts):
    """The same, with a link."""
    connect(hosts)
    return hosts
