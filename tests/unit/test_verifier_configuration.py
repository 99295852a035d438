"""Configurations of proxies that verify tokens. A test with a real Envoy is in cli/test_envoy.py."""

import pytest

from backctl.application.verifier_configuration import Expected, for_envoy, for_istio
from backctl.domain.errors import KeyNotFound

JWKS = {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "", "kid": "one"}]}


@pytest.mark.parametrize(
    ("leeway_us", "seconds"), [(0, 1), (500_000, 1), (1_000_000, 1), (10_000_000, 10), (10_999_999, 10)]
)
def test_envoy_never_gets_a_skew_of_zero_which_means_a_minute_there(leeway_us: int, seconds: int) -> None:
    filter_ = for_envoy(JWKS, Expected("issuer", "audience", leeway_us))
    provider = filter_["resources"][0]["typed_config"]["providers"]["backctl"]  # type: ignore[index]
    assert provider["clock_skew_seconds"] == seconds


@pytest.mark.parametrize("make", [for_envoy, for_istio])
def test_a_proxy_gets_no_empty_key_set_because_it_would_keep_the_keys_it_has(make: object) -> None:
    with pytest.raises(KeyNotFound, match="no signing key has a public half") as refusal:
        make({"keys": []}, Expected("issuer", "audience", 0))  # type: ignore[operator]
    assert "accepts the keys of the old one" in (refusal.value.hint or "")
