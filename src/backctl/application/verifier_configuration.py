"""Configurations of proxies that verify access tokens with the public keys of an installation."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from backctl.domain.errors import KeyNotFound

_SECOND_US = 1_000_000
_NAME = "backctl"
_JWT_AUTHN = "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"
_EXTENSION = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"


@dataclass(frozen=True, slots=True)
class Expected:
    """What a verifier checks: the issuer, the audience, and the tolerated difference of clocks in microseconds."""

    issuer: str
    audience: str
    leeway: int


def for_envoy(jwks: Mapping[str, object], expected: Expected) -> dict[str, object]:
    """Return the filter `envoy.filters.http.jwt_authn` as a resource that Envoy reads again when the file is replaced.

    Extension configuration discovery from a file:
    https://www.envoyproxy.io/docs/envoy/latest/configuration/overview/extension
    Raises KeyNotFound without public keys.
    """
    keys = _text(jwks)
    provider = {
        "issuer": expected.issuer,
        "audiences": [expected.audience],
        "local_jwks": {"inline_string": keys},
        "from_headers": [{"name": "Authorization", "value_prefix": "Bearer "}],
        "require_expiration": True,
        "clock_skew_seconds": max(1, expected.leeway // _SECOND_US),  # Envoy takes 0 for its default of a minute
        "payload_in_metadata": _NAME,
    }
    rule = {"match": {"prefix": "/"}, "requires": {"provider_name": _NAME}}
    verification = {"@type": _JWT_AUTHN, "providers": {_NAME: provider}, "rules": [rule]}
    return {
        "version_info": sha256(keys.encode()).hexdigest()[:16],
        "resources": [{"@type": _EXTENSION, "name": _NAME, "typed_config": verification}],
    }


def for_istio(jwks: Mapping[str, object], expected: Expected) -> dict[str, object]:
    """Return a RequestAuthentication: https://istio.io/latest/docs/reference/config/security/request_authentication/

    Raises KeyNotFound without public keys.
    """
    rule = {
        "issuer": expected.issuer,
        "audiences": [expected.audience],
        "jwks": _text(jwks),
        "outputClaimToHeaders": [{"header": "x-user", "claim": "sub"}],
    }
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "RequestAuthentication",
        "metadata": {"name": _NAME},
        "spec": {"jwtRules": [rule]},
    }


def _text(jwks: Mapping[str, object]) -> str:
    """Format the JWK Set. A proxy rejects an empty one, and would silently keep the keys that it has."""
    if not jwks["keys"]:
        raise KeyNotFound(
            "no signing key has a public half: a proxy could verify nothing",
            hint="create one with '{backctl} key add --alg EdDSA' and promote it; until the proxy gets a new "
            "configuration, it accepts the keys of the old one",
        )
    return json.dumps(jwks)
