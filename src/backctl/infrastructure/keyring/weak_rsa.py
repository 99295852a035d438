"""Recognizes RSA keys that can be factored although their numbers are consistent."""

_MARGIN = 100  # bits
# The odd primes below 168. A sound modulus passes the test for all of them with a probability of 2⁻³⁰.
_ROCA_PRIMES = tuple(n for n in range(3, 168) if all(n % smaller for smaller in range(2, n)))


def weakness_of(*, n: int, p: int, q: int) -> str | None:
    """Return why a key can be factored, to complete "the RSA key …"; None for a sound key.

    `n` is the modulus, `p` and `q` are its primes. FIPS 186-5 §A.1.3 gives the limits.
    """
    bits = n.bit_length()
    if abs(p.bit_length() - q.bit_length()) > bits % 2:
        return "has primes of unequal length"
    if abs(p - q) <= 1 << (bits // 2 - _MARGIN):
        return "has primes that are too close to each other"
    if _is_roca(n):
        return "comes from a faulty generator (ROCA, CVE-2017-15361)"
    return None


def _is_roca(n: int) -> bool:
    """Whether the modulus has the form of Infineon's generator: modulo small primes, it is a power of 65537.

    Nemec et al., "The Return of Coppersmith's Attack", 2017, §2.
    """
    return all(n % prime in _powers(prime) for prime in _ROCA_PRIMES)


def _powers(prime: int) -> set[int]:
    """Return the powers of 65537 modulo a prime."""
    powers, power = set[int](), 1
    while power not in powers:
        powers.add(power)
        power = power * 65537 % prime
    return powers
