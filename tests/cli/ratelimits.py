"""Policies for the tests of rate limits, and machines that use Redis."""

import secrets

from tests.cli.machines import Machine

CHECK = ("ratelimit", "check")
POLICIES = """
[ratelimit.policies.login]
limit = 2
window = "1h"

[ratelimit.policies.api]
algorithm = "gcra"
limit = 100
burst = 3
on_error = "allow"

[ratelimit.policies.guest]
algorithm = "sliding-counter"
limit = 5
on_error = "deny"
"""


def on(machine: Machine, url: str) -> Machine:
    machine.configure(f'redis.url = "{url}"\nredis.namespace = "{secrets.token_hex(8)}"\n{POLICIES}')
    return machine
