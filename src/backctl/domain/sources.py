"""The addresses from which requests come."""

from ipaddress import IPv6Address, IPv6Network, ip_address

from backctl.domain.errors import InvalidInput
from backctl.domain.quoting import quoted


def grouped(source: str) -> str:
    """Return the identifier for a limit on one client: an IPv4 address, or the /64 network of an IPv6 address.

    One customer usually has a whole /64 network (RFC 6177), so single addresses would not limit anybody. An IPv4
    address that is written as IPv6 is treated as IPv4. Raises InvalidInput.
    """
    try:
        address = ip_address(source.strip().strip("[]"))
    except ValueError:
        raise InvalidInput(
            f"the source {quoted(source)} is not an IP address",
            hint="use an address such as 203.0.113.7, without a port",
        ) from None
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Network((int(address), 64), strict=False))
