"""The metrics page: what this process counted, and what the database knows of workers and cases.

Names follow https://prometheus.io/docs/practices/naming/. Workers listen on no port: the server exports their
counts from the heartbeat rows. A store that does not answer leaves its part out: `gitmedic_store_up` is 0 then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Metrics:
    """Counters of the serving process, and one snapshot of the store per page."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.posts = Counter(
            "gitmedic_webhook_posts", "Webhook requests by answer.", ["status"], registry=self._registry
        )
        self.alerts = Counter("gitmedic_webhook_alerts", "Alerts stored.", registry=self._registry)
        self.unreadable = Counter(
            "gitmedic_webhook_unreadable",
            "Pieces of deliveries that could not be read.",
            registry=self._registry,
        )
        self.forge_hooks = Counter(
            "gitmedic_forge_webhooks", "Webhooks of the forge by what became of them.", ["done"],
            registry=self._registry,
        )  # fmt: skip
        self.commit_seconds = Histogram(
            "gitmedic_webhook_commit_seconds",
            "Seconds from a request's arrival to its commit.",
            buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
            registry=self._registry,
        )

    def render(self, snapshot: Snapshot | None) -> bytes:
        """The page in the text format; None when the store did not answer."""
        registry = CollectorRegistry()
        Gauge("gitmedic_store_up", "Whether the store answered this page.", registry=registry).set(snapshot is not None)
        if snapshot is not None:
            snapshot.fill(registry)
        page: bytes = generate_latest(self._registry) + generate_latest(registry)
        return page


class Snapshot:
    """What the store says now: cases by kind and outcome, waits, workers with their counts."""

    def __init__(
        self,
        *,
        cases: Sequence[Mapping[str, Any]],
        workers: Sequence[Mapping[str, Any]],
        slots: int,
        locks: int,
        unsettled: int = 0,
        sites: Sequence[Mapping[str, Any]] = (),
        schedules: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self._cases, self._workers, self._slots, self._locks = cases, workers, slots, locks
        self._sites, self._schedules, self._unsettled = sites, schedules, unsettled

    def fill(self, registry: CollectorRegistry) -> None:
        """One gauge per name."""
        cases = Gauge("gitmedic_cases", "Cases by kind and outcome.", ["kind", "outcome"], registry=registry)
        for row in self._cases:
            cases.labels(row["kind"], row["outcome"] or "").set(row["count"])
        Gauge("gitmedic_proposals_open", "Proposal slots taken.", registry=registry).set(self._slots)
        Gauge("gitmedic_locks_held", "Locks held.", registry=registry).set(self._locks)
        Gauge("gitmedic_runs_unsettled", "Interrupted runs that need a person.", registry=registry).set(self._unsettled)
        fill_sites(registry, self._sites)
        fill_schedules(registry, self._schedules)
        life = _Life(registry)
        steps = Gauge(
            "gitmedic_worker_steps",
            "Steps a worker took, by kind reached.",
            ["worker", "kind"],
            registry=registry,
        )
        embedder = Gauge(
            "gitmedic_memory_embedder_up", "Whether recall uses vectors; absent when no embedder is set.", ["worker"],
            registry=registry,
        )  # fmt: skip
        errors = Gauge("gitmedic_worker_errors", "Bugs a worker met.", ["worker"], registry=registry)
        models = _Models(registry)
        for row in self._workers:
            models.fill(row["metrics"].get("planner") or {}, row["name"])
            life.fill(row)
            for kind, count in row["metrics"].get("steps", {}).items():
                steps.labels(row["name"], kind).set(count)
            if "embedder_up" in row["metrics"]:
                embedder.labels(row["name"]).set(row["metrics"]["embedder_up"])
            errors.labels(row["name"]).set(row["metrics"].get("errors", 0))


def fill_sites(registry: CollectorRegistry, sites: Sequence[Mapping[str, Any]]) -> None:
    """Who serves each site; an alert on the second one says that nobody does."""
    count = Gauge(
        "gitmedic_site_executors",
        "Living executors that take a site's runs.",
        ["site"],
        registry=registry,
    )
    since = Gauge(
        "gitmedic_site_unserved_seconds", "Seconds since a site had a living executor; 0 while it has one.", ["site"],
        registry=registry,
    )  # fmt: skip
    for row in sites:
        count.labels(row["name"]).set(row["executors"])
        since.labels(row["name"]).set(row["unserved_seconds"])


class _Life:
    """Whether each worker lives, one row per role and site; an executor that names no site has an empty one."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ["worker", "role", "site"]
        self._up = Gauge("gitmedic_worker_up", "Whether a worker lives.", labels, registry=registry)
        self._silent = Gauge(
            "gitmedic_worker_silent_seconds", "Seconds since a worker's last heartbeat.", labels, registry=registry
        )

    def fill(self, row: Mapping[str, Any]) -> None:
        """One worker's rows."""
        for role in row["roles"].split():
            for site in (row["sites"] if role == "execute" else ()) or ("",):
                self._up.labels(row["name"], role, site).set(int(row["lives"]))
                self._silent.labels(row["name"], role, site).set(row["silent_seconds"])


def fill_schedules(registry: CollectorRegistry, rows: Sequence[Mapping[str, Any]]) -> None:
    """What is scheduled: a next moment that lies behind says that no planner looks."""

    def gauge(name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"gitmedic_schedule_{name}", text, ["schedule", *labels], registry=registry)

    ran = gauge("last_run_timestamp_seconds", "Planned moment of the last run of a schedule.")
    following = gauge("next_run_timestamp_seconds", "Next planned moment of a schedule that is enabled.")
    fates = gauge("moments", "Planned moments of a schedule by what became of them: ran, missed, paused, …", "fate")
    for row in rows:
        if row["ran"] is not None:
            ran.labels(row["name"]).set(row["ran"])
        if row["next"] is not None:
            following.labels(row["name"]).set(row["next"])
        for fate, count in (row["fates"] or {}).items():
            fates.labels(row["name"], fate).set(count)


class _Models:
    """What the planners' models did, by the name of the model."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"gitmedic_planner_{name}", text, ["worker", *labels], registry=registry)

        self._attempts = gauge(
            "attempts", "Attempts of a model by what came of them: success, timeout, schema, refusal, …, and fallback "
            "for all that were not taken.", "model", "outcome",
        )  # fmt: skip
        self._tokens = gauge("tokens", "Tokens of a model, sent, read from its cache, and received.", "model", "kind")
        self._cost = gauge("cost_usd", "What a model has cost.", "model")
        self._seconds = gauge("seconds", "Seconds spent waiting for a model.", "model")
        self._plans = gauge("plans", "Plans by the tier that decided; storm: an answer of moments ago.", "tier")
        self._baseline = gauge("strongest_only_usd", "What the strongest tier alone would have cost.")
        self._saved = gauge("saved_ratio", "Part of that which was saved, 0 to 1; negative when more was spent.")

    def fill(self, tally: Mapping[str, Any], worker: str) -> None:
        """One worker's counts; a worker without models has none."""
        for model, counts in tally.get("attempts", {}).items():
            for outcome, count in counts.items():
                self._attempts.labels(worker, model, outcome).set(count)
        for model, sums in tally.get("sums", {}).items():
            for kind, key in (("sent", "tokens_in"), ("cached", "tokens_cached"), ("received", "tokens_out")):
                self._tokens.labels(worker, model, kind).set(sums.get(key, 0))
            self._cost.labels(worker, model).set(sums.get("cost_usd", 0))
            self._seconds.labels(worker, model).set(sums.get("seconds", 0))
        for tier, count in tally.get("plans", {}).items():
            self._plans.labels(worker, tier).set(count)
        baseline = tally.get("baseline_usd", 0)
        if baseline:
            self._baseline.labels(worker).set(baseline)
            self._saved.labels(worker).set(1 - tally.get("cost_usd", 0) / baseline)
