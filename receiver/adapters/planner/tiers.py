"""The tier loop: models in order, each with its deadline, its budget and one second chance; the rules are last.

Decides when a tier's answer is taken and when the next one is asked. Refuses, by words of `Attempt.reason`: what came
too late, was cut, was refused, is no answer, names what was not offered, or would cost too much. It always answers,
and a chain that failed leaves nothing behind: the next case tries all of it again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import structlog

from receiver.adapters.planner import prompt, routing
from receiver.adapters.planner.answer import NoReply, read_reply
from receiver.adapters.planner.model import Asked, Failed, Heard, Model
from receiver.adapters.planner.settings import PlannerSettings
from receiver.adapters.planner.storm import Known, Storm
from receiver.adapters.planner.tally import Tally
from receiver.domain.binding import Reply, Unbound, bind
from receiver.domain.candidates import MOST_CLOUD, MOST_LOCAL, Menu, menu
from receiver.domain.plan import Attempt, Plan, Reason
from receiver.domain.question import Question
from receiver.errors import Invalid, Retry
from receiver.ports import Planner, Purse, Spent

log = structlog.get_logger()

#: what an answer usually takes; for a guess at the cost before it is known
_USUAL_OUT = 400
_CACHE_SECONDS = 300.0


class TieredPlanner:
    """The Planner port with models before the rules."""

    def __init__(
        self, settings: PlannerSettings, models: Mapping[str, Model], rules: Planner, purse: Purse,
        shipped: Mapping[str, str],
    ) -> None:  # fmt: skip
        self._settings, self._models, self._rules = settings, models, rules
        self._purse, self._shipped = purse, shipped
        self._storm = Storm(settings.storm_seconds)
        self._unbooked: list[tuple[str, Attempt]] = []
        self._prefixes: dict[tuple[str, str], float] = {}
        self.tally = Tally()

    async def plan(self, question: Question) -> tuple[Plan, list[Attempt]]:
        """Always answers."""
        async with self._storm.turn(question) as known:
            if known is not None:
                return self._again(known)
            plan, attempts = await self._decide(question)
            if any(one.model and one.verdict == "accepted" for one in attempts):
                self._storm.keep(question, plan)
        for attempt in attempts:
            self.tally.note(attempt)
            await self._book(question.case, attempt)
        self.tally.plans[plan.tier or "rules"] += 1
        self.tally.baseline_usd += self._baseline(question, attempts)
        return plan, attempts

    async def ask(self, tier: str, question: Question) -> tuple[Plan | None, Attempt]:
        """One tier alone, without routing; None when its answer is not taken. For evaluations."""
        plan, attempt = await self._try(tier, question)
        self.tally.note(attempt)
        await self._book(question.case, attempt)
        return plan, attempt

    async def ready(self) -> None:
        """Load the clients before the first alert comes."""
        for model in self._models.values():
            await model.ready()

    async def aclose(self) -> None:
        """Close every model's connections."""
        for model in self._models.values():
            await model.aclose()

    def _again(self, known: Known) -> tuple[Plan, list[Attempt]]:
        age = self._storm.age(known)
        why = f"the same question was answered {age:.0f} s ago for case {known.case}"
        self.tally.plans["storm"] += 1
        return known.plan, [Attempt(tier=known.plan.tier or "rules", verdict="accepted", why=why)]

    async def _decide(self, question: Question) -> tuple[Plan, list[Attempt]]:
        by_rule, ruled = await self._rules.plan(question)
        by_rule = by_rule if by_rule.tier else by_rule.model_copy(update={"tier": "rules"})
        quiet = routing.settled(question, by_rule, ruled, self._settings.routing.proven)
        if quiet is not None:
            skipped = Attempt(tier="models", verdict="moved_on", reason="skipped", why=f"no model was asked: {quiet}")
            return by_rule, [skipped, *ruled]
        hold = routing.holding(question)
        rule = by_rule if routing.decided(ruled) else None
        attempts: list[Attempt] = []
        plan = await self._by_models(question, rule, attempts)
        if plan is None:
            return by_rule, [*attempts, *ruled]
        if hold and plan.action == "playbook":
            plan = routing.torn(plan, by_rule, f"the rule {hold} says not to act")
        return plan, [*attempts, *(_not_taken(one) for one in ruled)]

    async def _by_models(self, question: Question, rule: Plan | None, attempts: list[Attempt]) -> Plan | None:
        """The plan that the models come to, or None when the rules must decide."""
        waiting = list(routing.order(question, self._settings))
        strong = self._settings.strong
        while waiting:
            tier = waiting.pop(0)
            plan, attempt = await self._try(tier, question)
            unsure = self._settings.routing.unsure_below
            if plan is not None and strong in waiting and (plan.confidence or 0) < unsure:
                waiting.remove(strong)
                waiting.insert(0, strong)
                why = f"{attempt.why}; less sure ({plan.confidence:.2f}) than {unsure:.2f}"
                attempt, plan = attempt.model_copy(update={"verdict": "moved_on", "why": why}), None
            attempts.append(attempt)
            if plan is not None:
                return await self._believed(plan, question, rule, waiting, attempts)
        return None

    async def _believed(
        self, plan: Plan, question: Question, rule: Plan | None, waiting: list[str], attempts: list[Attempt]
    ) -> Plan:
        """The plan itself, or after a second opinion; two that disagree are a person's."""
        tier, strong = plan.tier, self._settings.strong
        playbook = question.catalog.playbooks.get(plan.playbook or "")
        why = routing.second_needed(plan, tier, rule, playbook.risk if playbook else "", self._settings)
        if not why:
            differs = rule is not None and plan.action == "playbook" and not routing.same(plan, rule)
            return routing.torn(plan, rule, "the rule differs") if rule is not None and differs else plan
        others = [strong, *waiting] if strong in waiting else waiting
        for other in dict.fromkeys(others):
            second, attempt = await self._try(other, question)
            if second is not None and not routing.same(plan, second):
                attempts.append(attempt.model_copy(update={"verdict": "moved_on", "reason": "disagreed"}))
                return routing.torn(plan, second, why)
            attempts.append(attempt)
            if second is not None:
                return plan.model_copy(update={"why": f"{plan.why}; tier {other} says the same"})
        if rule is not None and not routing.same(plan, rule):
            return routing.torn(plan, rule, f"{why}, and no other tier answered")
        alone: dict[str, Any] = {"action": "notify", "playbook": None, "params": {}, "binds": {}}
        return plan.model_copy(update={**alone, "why": f"{why}, and no other tier answered: a person decides"})

    async def _try(self, tier: str, question: Question) -> tuple[Plan | None, Attempt]:
        """One attempt of one tier, whatever comes of it."""
        model, settings = self._models[tier], self._settings.tiers[tier]
        await model.ready()
        began = time.monotonic()
        try:
            attempt = _Attempt(tier, model, question, self._settings, self._shipped)
            short = await self._too_dear(attempt, question.case)
        except Invalid as error:  # a prompt that was never checked
            return None, _moved_on(tier, model.name, "skipped", error.message)
        if short is not None:
            return None, _moved_on(tier, model.name, "budget", short, version=attempt.version)
        attempt.cache = self._is_worth_keeping(tier, attempt.instructions)
        plan: Plan | None = None
        reason: Reason = ""
        try:
            async with asyncio.timeout(settings.deadline):
                plan, reason, why = await attempt.run()
        except TimeoutError:
            attempt.guess()
            reason, why = "timeout", f"no answer within {settings.deadline:g} s"
        return plan, attempt.record(plan, reason, why, time.monotonic() - began)

    async def _too_dear(self, attempt: _Attempt, case: str) -> str | None:
        """Why this request is not made, or None. Fails closed: what has no price, or no sum, is too dear."""
        budget, tokens = self._settings.budget, attempt.tokens
        if tokens > budget.tokens_per_request:
            return f"the question has some {tokens} tokens, {budget.tokens_per_request} is the limit"
        guess = attempt.model.price(tokens, 0, _USUAL_OUT)
        if guess is None:
            return f"no price is known for {attempt.model.name}: set planner.tiers.{attempt.tier}.price"
        if guess == 0:
            return None
        try:
            spent = await self._spent(case)
        except Retry as error:
            return f"what was spent is not known: {error.message}"
        for name, used, most in (("day", spent.day, budget.usd_per_day), ("case", spent.case, budget.usd_per_case)):
            if used + guess > most:
                return (
                    f"the {name}'s budget of {most:.2f} USD has {max(most - used, 0):.4f} left, this takes {guess:.4f}"
                )
        return None

    async def _spent(self, case: str) -> Spent:
        waiting, self._unbooked = self._unbooked, []
        for of, attempt in waiting:
            await self._book(of, attempt)
        if self._unbooked:
            raise Retry("earlier attempts are not booked yet")
        return await self._purse.spent(case)

    async def _book(self, case: str, attempt: Attempt) -> None:
        """Later, when the purse is away: money that was spent is not forgotten."""
        try:
            await self._purse.book(case, attempt)
        except Retry as error:
            log.warning("an attempt is not booked yet", case=case, tier=attempt.tier, why=error.message)
            if attempt.cost_usd:
                self._unbooked.append((case, attempt))

    def _is_worth_keeping(self, tier: str, instructions: str) -> bool:
        """A cache is written at a price: only when the same instructions were sent moments ago."""
        now, key = time.monotonic(), (tier, instructions)
        last = self._prefixes.pop(key, None)
        self._prefixes[key] = now
        while len(self._prefixes) > 64:
            del self._prefixes[next(iter(self._prefixes))]
        return last is not None and now - last < _CACHE_SECONDS

    def _baseline(self, question: Question, attempts: list[Attempt]) -> float:
        """What the strongest tier alone would have cost for this question."""
        strong = self._models.get(self._settings.strong)
        if strong is None:
            return 0.0
        heard = [one for one in attempts if one.model and one.tokens_in]
        if heard:
            return strong.price(heard[-1].tokens_in // max(heard[-1].requests, 1), 0, heard[-1].tokens_out) or 0.0
        try:
            tokens = _Attempt(self._settings.strong, strong, question, self._settings, self._shipped).tokens
        except Invalid:
            return 0.0
        return strong.price(tokens, 0, _USUAL_OUT) or 0.0


class _Attempt:
    """One tier at one question: at most two requests."""

    def __init__(
        self, tier: str, model: Model, question: Question, settings: PlannerSettings, shipped: Mapping[str, str]
    ) -> None:  # fmt: skip
        self.tier, self.model, self._question, self._settings = tier, model, question, settings
        is_local = settings.tiers[tier].is_local
        self._menu: Menu = menu(question, most=MOST_LOCAL if is_local else MOST_CLOUD)
        template = prompt.template_of(question, shipped)
        self.version = prompt.version(template)
        self.instructions = prompt.instructions(template, self._menu)
        self._form = prompt.form(question, self._menu, closed=is_local)
        self._text = self._asks(())
        self.cache = False
        self._requests = 0
        self._sums: dict[str, Any] = {"tokens_in": 0, "tokens_cached": 0, "tokens_out": 0, "cost_usd": 0.0}
        self._guessed = False

    @property
    def tokens(self) -> int:
        """Of one request, guessed from above."""
        return prompt.tokens_of(self.instructions, self._text, str(self._form))

    async def run(self) -> tuple[Plan | None, Reason, str]:
        """The plan, or the word and the sentence for why there is none."""
        said: list[str] = []
        reason: Reason = "schema"
        for turn in range(2):
            try:
                heard = await self._ask(self._asks(said) if turn else self._text)
            except Failed as error:
                return None, error.reason, "; ".join([*said, str(error)])
            if heard.refusal is not None:
                return None, "refusal", f"it refused ({heard.refusal[:60]!r})"
            if heard.is_cut:
                return None, "cut", "its answer was cut at the limit of tokens"
            try:
                reply: Reply = read_reply(heard.text)
                return bind(reply, self._question, self._menu, tier=self.tier), "", "its answer was bound to facts"
            except NoReply as error:
                if error.is_refusal:
                    return None, "refusal", "it refused in words"
                reason, found = "schema", error.reasons
            except Unbound as error:
                reason, found = "unbound", error.reasons
            said = [*said, *found]
        return None, reason, "; ".join(dict.fromkeys(said))[:600]

    def guess(self) -> None:
        """The request that did not come back is paid for all the same, as far as anybody knows."""
        if self._requests:
            self._sums["cost_usd"] += self.model.price(self.tokens, 0, 0) or 0.0
            self._guessed = bool(self._sums["cost_usd"])

    def record(self, plan: Plan | None, reason: Reason, why: str, seconds: float) -> Attempt:
        """The row that is kept."""
        told = f"{why}; its cost is a guess" if self._guessed else why
        return Attempt(
            tier=self.tier, model=self.model.name, verdict="accepted" if plan is not None else "moved_on", why=told,
            reason=reason, prompt=self.version, requests=self._requests, seconds=round(seconds, 3), **self._sums,
        )  # fmt: skip

    def _asks(self, reasons: list[str] | tuple[str, ...]) -> str:
        return prompt.question_text(
            self._question, self._menu, spotlight=self._settings.spotlight, reasons=reasons
        )  # fmt: skip

    async def _ask(self, text: str) -> Heard:
        self._requests += 1
        asked = Asked(instructions=self.instructions, question=text, form=self._form, cache=self.cache)
        heard = await self.model.ask(asked)
        for name in self._sums:
            self._sums[name] += getattr(heard, name)
        return heard


def _moved_on(tier: str, model: str, reason: Reason, why: str, *, version: str = "") -> Attempt:
    return Attempt(tier=tier, model=model, verdict="moved_on", reason=reason, why=why, prompt=version)


def _not_taken(attempt: Attempt) -> Attempt:
    """What the rules said, when a model's word was taken."""
    if attempt.verdict != "accepted":
        return attempt
    return attempt.model_copy(update={"verdict": "moved_on", "why": f"a model was heard; it said: {attempt.why}"})
