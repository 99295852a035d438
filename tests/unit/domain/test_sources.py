"""What a limit for the source of a request counts."""

import pytest

from backctl.domain.errors import InvalidInput
from backctl.domain.sources import grouped


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("203.0.113.7", "203.0.113.7"),
        (" 203.0.113.7 ", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("[2001:db8::1]", "2001:db8::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_addresses_of_one_customer_count_together(source: str, expected: str) -> None:
    assert grouped(source) == expected


@pytest.mark.parametrize("source", ["", "localhost", "203.0.113", "203.0.113.7:80", "1.2.3.4/24", "0x7f.1", "x" * 5000])
def test_anything_else_is_refused(source: str) -> None:
    with pytest.raises(InvalidInput, match="is not an IP address"):
        grouped(source)
