"""What is said about a forge: what a token needs, what to set by hand there, and the lines for policy.yml.

Decides nothing; text in the words of each forge.
"""

from __future__ import annotations

from collections.abc import Sequence

from receiver.domain.forge import Posture
from receiver.domain.policyfile import Policy

GUIDES = {kind: f"docs/howto/forge-{kind}.md" for kind in ("github", "gitea", "gitlab")}
#: the least that a token needs
NEEDS = {
    "github": "a fine-grained token (or an App) for this one repository with Contents, Pull requests and Commit "
    "statuses: read and write; or a classic one with the scope repo, and for the account the role Write",
    "gitea": "the scopes read:user, write:repository and write:issue, and for the account the right to write",
    "gitlab": "the scope api, and for the account the role Developer",
}
CALLED = {"github": "GitHub", "gitea": "Gitea", "gitlab": "GitLab"}
_PROTECT = {
    "github": "a ruleset for branch {base!r} (Settings, Rules, Rulesets): require a pull request with 1 approval, "
    "dismiss stale approvals, require review from code owners, block force pushes; nobody in its bypass list",
    "gitea": "a protection for branch {base!r} (Settings, Branches): no direct push, no force push, 1 approval, "
    "dismiss stale approvals, administrators bound as well; in Settings, Repository: no merge by hand, none detected",
    "gitlab": "branch {base!r} protected (Settings, Repository, Protected branches): push by no one, merge by "
    "Developers, no force push; and in Settings, Merge requests: approvals reset on push, where your edition has it",
}
_WHO = {
    "github": "https://api.github.com/users/LOGIN says the number",
    "gitea": "HOST/api/v1/users/LOGIN says the number",
    "gitlab": "HOST/api/v4/users?username=LOGIN says the number",
}
CODEOWNERS = (
    "/runs/ @ops",
    "/playbooks/ /inventory/ /prompts/ /policy.yml /.github/ @admins",
)


def by_hand(kind: str, base: str) -> list[str]:
    """What people set on the forge, since gitmedic's account may not."""
    paths = CODEOWNERS[1].split(" ")
    owners = " · ".join([CODEOWNERS[0], *(f"{path} {paths[-1]}" for path in paths[:-1])])
    return [
        _PROTECT[kind].format(base=base),
        f"a file CODEOWNERS, one line each: {owners}",
    ]


def hook_by_hand(kind: str, address: str, secret_file: object) -> list[str]:
    """What to enter where the account may make no webhook."""
    what = {
        "github": "content type application/json; events Pull requests, Pull request reviews, Pushes",
        "gitea": "type Gitea, POST, application/json; events Push, Pull Request, Pull Request Reviewed",
        "gitlab": "triggers Push events and Merge request events; the secret goes into the field Secret token",
    }[kind]
    return [
        f"address {address}",
        f"secret: what {secret_file} holds",
        what,
    ]


def unmapped(policy: Policy, kind: str) -> list[str]:
    """The people of policy.yml whose word on the forge counts for nobody."""
    return [person.name for person in policy.people if not person.forges.get(kind)]


def mapping(names: Sequence[str], kind: str) -> list[str]:
    """The lines to add, one for each of them; the kind of the forge, with its host where it goes by that."""
    key, who = f'"{kind}"' if ":" in kind else kind, _WHO[kind.partition(":")[0]]
    return [f'below {name} in policy.yml: forges: {{{key}: "id:NUMBER"}} ({who})' for name in names]


def weak(posture: Posture) -> tuple[str, ...]:
    """What is still weak, and what cannot be seen."""
    unseen = () if posture.protected is not None else ("its protection cannot be seen with this token",)
    return (*posture.weaknesses, *unseen)


def meaning(policy: Policy) -> str:
    """What `approvals.posture` makes of a weakness."""
    if policy.posture == "warn":
        return "approvals.posture is warn: a weakness is shown, and runs start all the same"
    return "approvals.posture is strict: nothing runs from a branch with a weakness; `warn` only shows it"
