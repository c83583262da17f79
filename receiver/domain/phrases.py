"""The words by which the rows of `domain/holds.py` know their reasons: RE2, without case, clause by clause.

Decides nothing. Each name is one list of ways to say one thing; what is in a `_BUT` must not stand in the same clause.
"""

from __future__ import annotations


def any_of(*parts: str) -> str:
    """One pattern that any of these make match."""
    return "|".join(parts)


def up_to(words: int) -> str:
    """Up to so many words between two others."""
    return rf"(?:\S+ ){{0,{words}}}"


HEARTBEAT = any_of(
    r"always[- ]firing", "always fires", "dead ?man'?s?[- ]?switch", "proves? (?:that )?the (?:alert|pipeline)"
)

WELL_NOW = any_of(
    "healthy", "running", "active", r"\bup\b", r"ok\b", "back", "normal", "established", "online", "recovered"
)
RECOVERED = any_of(
    "(?:has |already |since )(?:recovered|resolved|cleared)",
    r"recovered (?:at|by itself|on its own|\d)",
    "back to normal",
    "no longer (?:firing|true|the case)",
    r"(?:resolved|cleared) (?:by itself|on its own|at \d)",
)
RECOVERED_BUT = any_of("usually", "always", "history", "last", "every", "previous")

#: alerts whose fix belongs into the window, rather than waiting for its end
WINDOW_WORK = any_of("update", "upgrade", "patch", "cve", "reboot.?required")
MAINTENANCE = any_of(
    r"(?:in|under|during|inside|within) (?:\S+ )?maintenance\b",
    "maintenance[_ -](?:window|mode|work|period|flag)",
    "^maintenance: ",
    r"(?:planned|scheduled|announced|ongoing) (?:\S+ )?(?:maintenance|outage|downtime|work|reboot|shutdown)\b",
    r"(?:planned|scheduled|announced|ongoing) (?:\S+ )?(?:upgrade|migration|move)\b",
    "change window",
    "being (?:upgraded|reinstalled|migrated|moved|rebuilt)",
)
MAINTENANCE_BUT = any_of(
    "outside", "before", "ended", r"\bover\b", "closed", "expired", "next", "tomorrow", "upcoming", "yesterday",
    "last (?:week|month|night)", r"\bisp\b", "provider", "carrier", "upstream", "autovacuum", "starts (?:at|in|on)",
    "finished", "completed",
)  # fmt: skip

_ENDED = (
    "(?:stop(?:ped)?|shut ?down|disabled?|drained|paused?|cordoned|removed?|powered (?:off|down)"
    "|taken (?:down|offline)|masked|scaled to 0)"
)
_GONE = r"(?:remov|disabl|stopp?|retir)\w*"
PURPOSE = any_of(
    "on purpose", "intentional", "deliberate", f"manual(?:ly)? {_ENDED}", f"{_ENDED} manually",
    rf"(?:operator|admin|administrator|owner|user \S+|root@pam|\S+@pve) {up_to(3)}{_ENDED}",
    rf"(?:merged|change|pull request|\bpr\b|commit)\b.*\b{_GONE}",
    rf"\b{_GONE}.*\b(?:merged|pull request|pr|commit)\b",
    rf"{_ENDED} {up_to(4)}by (?:an? |the |user |operator |admin )?\S+",
    rf"{_ENDED} {up_to(2)}(?:issued|requested|triggered|initiated|sent|ordered) {up_to(2)}(?:by|from|via)\b",
    "user action", "by hand", f"{_ENDED} (?:from|in) (?:the )?(?:web|ui|gui|portal|console)",
    f"{_ENDED} via (?:the )?(?:web|ui|gui|portal|api|console|unifi|proxmox)",
    rf"(?:qm|pct) (?:stop|shutdown) {up_to(3)}by",
    rf"docker (?:compose )?(?:stop|down|rm) {up_to(3)}(?:by|at|from)",
)  # fmt: skip
_MACHINES = any_of(
    "oom", "kernel", "systemd", "watchdog", "time-?out", "signal", "back-?up", "power", "dockerd?", "reboot", "restart",
    "update", "upgrade", "cron", r"sig\w+", "itself", "ansible", "vzdump", "nut", "ups", "script", "jobs?", "tasks?",
    r"deploy\w*", "migration", "hook", "crash", "exception", "hypervisor", "host", "node", "gitmedic", "ha",
    "scheduler", "timer", r"unattended\S*", "apt", "package", "bug", "default", "policy", "mistake", "accident", r"\d+",
)  # fmt: skip
PURPOSE_BUT = rf"\bby (?:the )?(?:{_MACHINES})\b"

_ACTS = (
    r"(?:touch|restart|reboot|delete|rotate|vacuum|prune|stop|start|change|clean|remove|move|migrate|run|reload|renew"
    r"|unlock|recreate|rebuild|resize|update|upgrade|restore|block)\w*"
)
TOLD_NOT_TO = any_of(
    rf"\b(?:do not|don't|must not|should not|may not|never|not to be|please no) {up_to(2)}{_ACTS}", "legal hold",
    "forensic", r"investigat\w+", r"(?:security )?incident (?:\S+ )?(?:open|ongoing|of|from|under)", "litigation",
    "frozen (?:for|by|until)", "change freeze", "hands off", "keep (?:it |them |this |these )?(?:as is|untouched)",
)  # fmt: skip

FAILURE = any_of(
    "fail", "not[_ ]fixed", "no effect", "did not help", "didn't help", "came back", "fir(?:es|ed|ing) again",
    "re-?fired", "recurr", "unsuccessful", "still (?:firing|unhealthy|down)", "without (?:success|effect)",
)  # fmt: skip
OFTEN = any_of(
    r"\b(?:[2-9]|\d\d+) ?(?:times|x|×|runs|attempts|tries|restarts|failures)", r"\btwice\b",
    r"\b(?:two|three|four|five|six|several|many|repeated|both|second|third)\b",
)  # fmt: skip
PAST = any_of("history", r"runs?\b", "attempts", "remediation", "gitmedic", "track")

PASSES = any_of(
    "self[- ]?resol", r"resol\w+ (?:by )?itself", "clears? (?:by itself|on its own)",
    r"(?:always|usually) (?:resolve|clear|end|recover)\w*", "went away", "on its own",
    "without (?:any )?(?:action|intervention)", "resolve[sd]? (?:within|after)",
)  # fmt: skip
REGULARLY = any_of(
    "alert", "always", "every", "of the last", r"\d+ (?:times|of)", "nights", "days", "weeks", "each", "usually"
)

STALE = any_of(
    r"not (?:\S+ )?in (?:the |our )?inventory", "decommission", r"\bretired\b",
    "removed from (?:the )?(?:inventory|service)", "unknown (?:host|target|device)",
    rf"(?:host|guest|vm|container|machine|device|target|node) {up_to(3)}(?:no longer exists|does not exist|is gone)",
    rf"(?:host|guest|vm|container|machine|device|target|node) {up_to(3)}was (?:deleted|removed|scrapped)",
    rf"scrape (?:config|target)\S* {up_to(3)}(?:still|stale|old)",
)  # fmt: skip
STALE_BUT = any_of(r"\block", "snapshot", "backup")

_PARTS = "(?:power supply|disk|drive|ssd|hdd|nvme|dimm|controller|battery|device)"
HARDWARE = any_of(
    r"\bFAULTED\b", r"\bUNAVAIL\b", r"fan\S* ?(?:=|:|at)? ?0 ?rpm",
    rf"\bfans? {up_to(2)}(?:failed|stopped|dead|broken)",
    rf"psu\S* {up_to(2)}(?:fail|dead|lost)",
    rf"{_PARTS} {up_to(2)}(?:has )?(?:failed|died|dead|broken|defective|faulty|missing)",
    rf"smart\S* {up_to(4)}(?:failed\b|failing)", "failing[_ ]now",
    rf"(?:uncorrectable|machine check|mce|ecc) {up_to(2)}errors?", "hardware (?:fault|error|failure)",
    "thermal (?:trip|throttl|shutdown)", "overheat",
    rf"(?:read|write|i/o|medium) errors? {up_to(2)}on (?:/dev/)?(?:sd|nvme|ata)", r"[1-9]\d* (?:read|write) errors",
)  # fmt: skip
#: the only words of a log that count
HARDWARE_LOGGED = any_of(
    "blk_update_request: .*error", "buffer i/o error", "medium error", "ext4-fs error", "machine check",
    "hardware error", "uncorrect(?:ed|able) ecc",
)  # fmt: skip

HANDS = any_of(
    "no spare", r"spare (?:\S+ )?missing", rf"needs? {up_to(2)}(?:hands|a person|a visit)", "must be replaced",
    r"replace(?:ment)? (?:\S+ )?(?:ordered|due|needed)", r"\bRMA\b",
    rf"cable {up_to(2)}(?:unplugged|broken|damaged|cut|disconnected)", "unplugged",
    rf"no (?:link|carrier) {up_to(3)}(?:cable|sfp|port)", r"(?:link|port|carrier)\S* (?:is )?(?:down|no-carrier)$",
    r"poe (?:\S+ )?(?:budget )?(?:exceeded|exhausted)",
)  # fmt: skip

_OTHERS = (
    "(?:isp|provider|carrier|upstream|telekom|comcast|dsl|fib(?:er|re)|cloudflare|let'?s ?encrypt|acme server|registry"
    "|region(?:al)?|transit|peering)"
)
_OUT = (
    r"(?:outage|incident|disruption|down\b|maintenance|unreachable|time(?:s|d)? ?out|servfail|failure|unavailable"
    "|fault)"
)
UPSTREAM = any_of(
    rf"\b{_OTHERS}\S* {up_to(4)}{_OUT}",
    rf"\b{_OTHERS}\S* {up_to(2)}(?:not reachable|do(?:es)? not answer)",
    r"outage (?:\S+ )?(?:confirmed|reported|announced|known|in |at |since|until)",
    "(?:confirmed|reported|known|announced|area|wide-?spread|major) outage",
    rf"status ?page {up_to(4)}(?:incident|outage|major|degraded|investigating|red)",
    rf"{_OUT} {up_to(2)}(?:at|of|by) (?:the )?{_OTHERS}",
)
UPSTREAM_BUT = any_of("resolved", "restored", r"\bended\b", "is over", "yesterday", "attempt", "last renewal")

POWER = any_of(
    "on battery", r"\bONBATT\b", r"\bOB (?:DISCHRG|LB)",
    rf"(?:power|mains|utility|grid) {up_to(2)}(?:cut|outage|failure|fail(?:s|ed|ing)?|lost|loss|out|off|down)\b",
    rf"\bups\b {up_to(4)}(?:discharg|low battery|battery low|runtime)", "black-?out", "brown-?out",
    r"breaker (?:\S+ )?tripped",
)  # fmt: skip
POWER_BUT = any_of(
    "restored", "returned", "is back", "back (?:at|since)", r"after (?:a |the )?(?:\S+ )?(?:power|mains|outage|cut)",
    "ended", "recovered", "powered off",
)  # fmt: skip
POWER_BACK = (
    rf"(?:power|mains|utility|ups)\S* {up_to(3)}(?:restored|returned|is back|back since|back at|on line|online|normal)"
)

_SECRETS = (
    "(?:api[- ]?)?(?:key|token|credentials?|password|secret|login|account|licen[cs]e|subscription|session ticket"
    "|api access)"
)
_VOID = "(?:expired|revoked|invalid|rejected|unauthori[sz]ed|denied|disabled|deactivated|locked out|wrong)"
ACCESS = any_of(
    rf"\b{_SECRETS}\S* {up_to(5)}{_VOID}", rf"{_VOID} (?:\S+ )?{_SECRETS}\b", "needs ?login", "needs ?machine ?auth",
    "logged out", "re-?authenticat", "log ?in again", r"authenti?cation (?:\S+ )?(?:failed|error|required)",
    r"\b(?:401|403)\b (?:\S+ )?(?:unauthori[sz]ed|forbidden|auth)", "unauthori[sz]ed", r"key ?expiry (?:\S+ )?passed",
)  # fmt: skip

NO_QUORUM = any_of(
    r"(?:no|lost|without|lacks?|missing) (?:\S+ )?quorum", rf"quorum {up_to(2)}(?:lost|missing|gone|no\b|false)",
    "(?:not|non-?) ?quorate", "quorate[:=]? ?no", "split.?brain",
)  # fmt: skip

#: signs of trouble; where no condition of a rule speaks of them, the rule did not know all
TROUBLE = any_of(
    r"\berrors?\b", r"fail(?:s|ed|ing|ures?)?\b", r"corrupt\w*", r"\boffline\b", "unreachable", "unavailable",
    "not (?:available|reachable|found|mounted|readable)", "cannot", r"\bmissing\b", "blocked", "forbidden", "denied",
    r"refuse\w*", "rejected", "invalid", "edited", "in progress", r"\d ?% (?:done|complete)", "released", "degraded",
    "faulted", "fsck", r"leak\w*", r"climb\w*", "unrecovered", "expires", "swap-?in", r"never\b", r"\bkeep\b",
    "no other", "only (?:way|path|access|uplink|management|copy)", "unknown", "unclear", "suspect",
)  # fmt: skip
#: somebody or something else is at work on it
BUSY = any_of(
    r"(?:backup|vzdump|snapshot|migration|restore|prune|resilver|scrub|verification|upgrade|dpkg|apt)\b.{0,20}\brunning",
    r"\brunning (?:a |the )?(?:backup|vzdump|snapshot|migration|restore|prune|resilver|scrub|verification|upgrade)",
)

#: names of alerts about load, which a job may explain
LOAD = any_of(
    "load", "cpu", "iowait", r"\bio", "disk.?(?:io|busy|util)", "bandwidth", "traffic", "throughput", "latency", "slow",
    "saturat", "util", "memory", "swap", "temperature", "network", "pressure", "queue", "busy",
)  # fmt: skip
_WHEN = (
    r"(?:nightly|scheduled|cron\w*|weekly|daily|monthly|periodic|timer|batch|planned|regular"
    r"|every (?:night|day|week|month|hour|\w+day))"
)
_WHAT = (
    r"(?:job|backup|scrub|check|import|sync|build|transcod\w+|reindex\w*|index\w*|rebuild|verif\w+|report|task|run"
    "|vacuum|scan|export|training|resync|dump)"
)
JOB = any_of(rf"\b{_WHEN}\b.*\b{_WHAT}\b", rf"\b{_WHAT}\b.*\b{_WHEN}\b")
UNDER_WAY = any_of(
    r"\beta\b", r"\d ?% (?:done|complete)", "in progress", "running", "started", "under way", r"since \d",
    "expected (?:until|to)",
)  # fmt: skip

#: names of alerts about what a task of their own may be at
OWN_TASK = any_of(
    "lock",
    "backup",
    "scrub",
    "resilver",
    "zfs",
    "pool",
    "raid",
    "snapshot",
    "verif",
    "migrat",
    "replicat",
    "gravity",
    "vacuum",
    "upgrade",
)
_WORK = (
    r"(?:task|backup|vzdump|qmigrate|restic|borg|snapshot|scrub|resilver|verif\w*|prune|gc|migration|vacuum|basebackup|upgrade"
    r"|rebuild)\S*"
)
AT_WORK = any_of(
    rf"\b{_WORK} {up_to(4)}(?:is |still |now )?(?:running|under way|in progress|progressing)",
    rf"running (?:\S+ )?{_WORK}",
    rf"{_WORK} {up_to(4)}at \d+ ?%",
)
PROGRESS = any_of(r"\d ?%", r"\beta\b", r"\d+ ?[KMG]i?B/s", "progress")
