"""The tier loop over the real clients and the bytes of the real APIs: what is taken, what moves on, and why."""

from __future__ import annotations

import json
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from receiver.adapters.planner.models import RealModel
from receiver.adapters.planner.settings import PlannerSettings, TierSettings
from receiver.adapters.planner.tiers import TieredPlanner
from receiver.domain.plan import Plan
from receiver.testing.clock import FakeClock
from receiver.testing.purse import FakePurse
from tests.integration.planner.asking import KNOWN, SHIPPED, Rules, asking, good
from tests.integration.planner.scripted import Script, answer, drip, error, hang, raw, said, server
from tests.unit.domain.planning import GOOD, question

pytestmark = pytest.mark.anyio
ASKED = question(memories=KNOWN)
TEXT = json.dumps(GOOD)


@pytest.mark.parametrize("tier", ["local", "fast", "strong", "openai", "azure"])
async def test_a_good_answer_of_each_kind_is_bound(tier: str) -> None:
    async with asking({tier: answer(**GOOD)}) as asked:
        plan, attempts = await asked.plan(ASKED)
    assert (plan.action, plan.playbook, plan.params) == (
        "playbook", "docker_restart", {"host": "web1", "container": "grafana"},
    )  # fmt: skip
    first = attempts[0]
    assert (first.tier, first.verdict, first.requests, first.reason) == (tier, "accepted", 1, "")
    assert (first.tokens_in, first.tokens_out) == (900, 200) and len(first.prompt) == 12
    assert (first.cost_usd == 0) == (tier == "local")
    assert asked.purse.booked[0][2] == first


@pytest.mark.parametrize("mode", ["native", "prompted", "tool"])
@pytest.mark.parametrize("tier", ["local", "fast", "strong"])
async def test_what_is_sent(tier: str, mode: str) -> None:
    async with asking({tier: answer(**GOOD)}, tier={"mode": mode}) as asked:
        plan, _ = await asked.plan(ASKED)
        (request,) = asked.servers[tier].requests
    assert plan.action == "playbook"
    body = request.body
    assert body.get("max_tokens") == 2048 and body["stream"] is False
    assert body.get("tool_choice", {"type": "auto"}) in ({"type": "auto"}, "auto")
    assert ("temperature" in body) == (tier == "local")
    assert request.key == f"key-{tier}"
    last = json.dumps(body["messages"][-1])
    assert "grafana" in last and "grafana" not in json.dumps(body.get("system", "")) + json.dumps(body["messages"][:-1])


MOVES_ON: list[tuple[str, Script | list[Script], str, int]] = [
    ("429", error(429, "rate_limit_error"), "rate_limit", 1),
    ("529", error(529, "overloaded_error"), "unavailable", 1),
    ("500", error(500), "unavailable", 1),
    ("503", error(503), "unavailable", 1),
    ("404", error(404, "not_found_error"), "not_found", 1),
    ("401", error(401, "authentication_error"), "auth", 1),
    ("403", error(403, "permission_error"), "auth", 1),
    ("400", error(400, "invalid_request_error"), "unavailable", 1),
    ("302", raw(b"", status=302), "unavailable", 1),
    ("cut", said('{"action": "play', cut=True), "cut", 1),
    ("refusal", said("", refusal="cyber"), "refusal", 1),
    ("refusal in words", said("I'm sorry, but I can't help with that."), "refusal", 1),
    ("prose", said("The container should be restarted."), "schema", 2),
    ("empty", said(""), "schema", 2),
    ("wrong enum", answer(**good(action="restart")), "schema", 2),
    ("extra field", answer(**good(command="rm -rf /")), "schema", 2),
    ("a value", answer(**good(binds=[{"param": "host", "fact": "f1", "value": "pve1"}])), "schema", 2),
    ("missing field", answer(**{k: v for k, v in GOOD.items() if k != "verify"}), "schema", 2),
    ("a key twice", said('{"action": "none", ' + TEXT[1:]), "schema", 2),
    ("two objects", said(TEXT + TEXT), "schema", 2),
    ("unknown fact", answer(**good(evidence=["f99"])), "unbound", 2),
    ("unknown playbook", answer(**good(playbook="firewall_disable")), "unbound", 2),
    ("duplicated bind", answer(**good(binds=[*GOOD["binds"], GOOD["binds"][0]])), "unbound", 2),
    ("1 MB", said("x" * (1 << 20)), "schema", 1),
    ("deep", said("[" * 50_000), "schema", 2),
    ("html", raw(b"<html>sign in</html>", content_type="text/html"), "", 1),
    ("no bytes", raw(b""), "", 1),
    ("not the API", raw(b'{"hello": 1}'), "", 1),
    ("not JSON", raw(b"{{{{"), "", 1),
]  # fmt: skip


@pytest.mark.parametrize(
    ("scripts", "reason", "requests"), [row[1:] for row in MOVES_ON], ids=[row[0] for row in MOVES_ON]
)
@pytest.mark.parametrize("tier", ["local", "fast"])
async def test_what_moves_on(tier: str, scripts: Any, reason: str, requests: int) -> None:
    async with asking({tier: scripts}) as asked:
        began = time.monotonic()
        plan, attempts = await asked.plan(ASKED)
        assert time.monotonic() - began < 4
        assert asked.asked()[tier] == requests
    assert [one.tier for one in attempts] == [tier, "rules"] and plan.action == "notify"
    first = attempts[0]
    assert (first.verdict, first.requests) == ("moved_on", requests) and first.why
    assert first.reason == reason if reason else first.reason in ("unavailable", "schema")
    assert "sk-secret" not in first.why and "key-" not in first.why


#: seconds that the shorter of the two scripts takes to its end
WHOLE = 240


@pytest.mark.parametrize("script", [hang, drip], ids=["hang", "slow drip"])
@pytest.mark.parametrize("tier", ["local", "fast"])
async def test_the_deadline_is_for_the_whole_attempt(tier: str, script: Script) -> None:
    async with asking({tier: script}, tier={"deadline_seconds": 0.5}) as asked:
        began = time.monotonic()
        _, attempts = await asked.plan(ASKED)
        assert 0.4 < time.monotonic() - began < WHOLE / 4
    assert attempts[0].reason == "timeout" and 0.4 < attempts[0].seconds < WHOLE / 4
    assert (attempts[0].cost_usd > 0) == (tier == "fast")  # it is paid for all the same


@pytest.mark.parametrize(
    "text",
    [f"```json\n{TEXT}\n```", f"Here it is:\n```\n{TEXT}\n```\nI hope it helps.", f"<think>{{or not}}?</think>{TEXT}",
     f"My answer: {TEXT}", f"\n\n{json.dumps(GOOD, indent=2)}\n"],
    ids=["fence", "fence and words", "thoughts", "words", "indented"],
)  # fmt: skip
async def test_json_is_recovered(text: str) -> None:
    async with asking({"local": said(text)}) as asked:
        plan, attempts = await asked.plan(ASKED)
    assert plan.playbook == "docker_restart" and attempts[0].requests == 1


async def test_one_retry_with_reasons_and_the_outside_text_still_last() -> None:
    async with asking({"fast": [answer(**good(playbook="guest_destroy")), answer(**GOOD)]}) as asked:
        plan, attempts = await asked.plan(ASKED)
        first, second = (one.body["messages"][-1]["content"][0]["text"] for one in asked.servers["fast"].requests)
    assert plan.playbook == "docker_restart" and attempts[0].requests == 2
    assert (attempts[0].tokens_in, attempts[0].cost_usd) == (1800, pytest.approx(2 * 0.00019))
    assert "was not offered" in second and "was not offered" not in first
    assert second.index("was not offered") < second.index("<<") and second.rstrip().endswith(">>")
    assert "it was killed" not in second  # what it said is not repeated to it


async def test_a_chain_falls_through_and_leaves_no_cooldown() -> None:
    scripts: Any = {"local": [hang, answer(**GOOD)], "fast": [error(529), answer(**GOOD)], "strong": said("no")}
    async with asking(scripts, tier={"deadline_seconds": 0.5}, storm_seconds=300) as asked:
        plan, attempts = await asked.plan(ASKED)
        assert [(one.tier, one.reason) for one in attempts] == [
            ("local", "timeout"), ("fast", "unavailable"), ("strong", "schema"), ("rules", ""),
        ]  # fmt: skip
        assert plan.action == "notify"
        plan, attempts = await asked.plan(ASKED)
    assert [(one.tier, one.verdict) for one in attempts[:1]] == [("local", "accepted")] and plan.action == "playbook"


async def test_a_key_revoked_midway_moves_on_and_a_new_one_works_at_once() -> None:
    async with asking({"fast": [answer(**GOOD), error(401), answer(**GOOD)]}) as asked:
        assert (await asked.plan(ASKED))[0].action == "playbook"
        plan, attempts = await asked.plan(ASKED)
        assert plan.action == "notify" and attempts[0].reason == "auth"
        asked.keys["fast"] = "key-new"
        assert (await asked.plan(ASKED))[0].action == "playbook"
        assert [one.key for one in asked.servers["fast"].requests] == [
            "key-fast",
            "key-fast",
            "key-new",
        ]


async def test_a_certificate_that_nobody_signed_moves_on(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(certificate),
         "-days", "1", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    async with server(answer(**GOOD), tls=tls) as listening:
        for authority, reason in ((None, "unavailable"), (certificate, "")):
            plain = {"kind": "anthropic", "base_url": listening.url, "key_env": "K", "ca_file": authority}
            settings = PlannerSettings.model_validate({"tiers": {"fast": plain}})
            model = RealModel(settings.tiers["fast"], "claude-haiku-5-5", lambda: "k")
            planner = TieredPlanner(settings, {"fast": model}, Rules(), FakePurse(FakeClock()), SHIPPED)
            _, attempts = await planner.plan(ASKED)
            await planner.aclose()
            assert attempts[0].reason == reason
            assert authority or "SSL" in attempts[0].why


async def test_nobody_listens() -> None:
    async with server(hang) as closed:
        pass
    settings = PlannerSettings.model_validate({"tiers": {"l": {"kind": "local", "base_url": closed.url, "model": "m"}}})
    model = RealModel(settings.tiers["l"], "m", lambda: "none")
    planner = TieredPlanner(settings, {"l": model}, Rules(), FakePurse(FakeClock()), SHIPPED)
    plan, attempts = await planner.plan(ASKED)
    await planner.aclose()
    assert plan.action == "notify" and attempts[0].reason == "unavailable" and "cannot be reached" in attempts[0].why


async def test_the_environment_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_BASE_URL", "OPENAI_BASE_URL", "AZURE_OPENAI_ENDPOINT", "HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://192.0.2.1:9")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "other")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    async with asking({"local": said("no"), "fast": answer(**GOOD)}) as asked:
        await asked.plan(ASKED)
        assert asked.asked() == {"local": 2, "fast": 1}
        assert [one.key for one in asked.servers["fast"].requests] == ["key-fast"]


async def test_no_test_reaches_a_real_model() -> None:
    settings = TierSettings(kind="anthropic", key_env="K")
    with pytest.raises(AssertionError, match=r"api\.anthropic\.com"):
        await RealModel(settings, "claude-haiku-5-5", lambda: "k")._client()


async def test_a_plan_of_a_model_names_every_tier() -> None:
    rule = Plan(
        action="playbook", playbook="docker_restart", params={"host": "web1", "container": "grafana"}, why="rule"
    )
    async with asking({"local": error(500), "fast": answer(**GOOD)}, rules=rule) as asked:
        plan, attempts = await asked.plan(ASKED)
    assert (plan.tier, plan.confidence) == ("fast", 0.9)
    assert [(one.tier, one.verdict) for one in attempts] == [
        ("local", "moved_on"), ("fast", "accepted"), ("rules", "moved_on"),
    ]  # fmt: skip
    view = asked.planner.tally.view()
    assert view["attempts"]["model-local"] == {"unavailable": 1, "fallback": 1}
    assert view["attempts"]["claude-haiku-5-5"] == {"success": 1}
    assert view["plans"] == {"fast": 1}
