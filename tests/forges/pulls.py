"""Pull requests of a forge and the pushes behind them, done as its users do them.

Decides what all forges agree on: who may open, review, push and merge, and that a merge is real git. What they
disagree on (statuses, staleness, who may approve) a dialect overrides or maps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.forges import gitwork
from tests.forges.state import (
    Base,
    Comment,
    Denied,
    Event,
    Protection,
    Pull,
    Repository,
    Review,
    Status,
    Style,
    User,
    Version,
    act,
)


class State(Base):
    """A whole forge; every method with a user first is that user's act."""

    # --- git

    @act
    def push(
        self,
        user: User,
        repository: Repository,
        branch: str,
        files: Mapping[str, bytes | None] | None = None,
        *,
        sha: str = "",
        onto: str = "",
        force: bool = False,
        message: str = "Change",
    ) -> str:
        """A commit of these files, or one that is there, at a branch; `onto`: the parent in the place of its tip."""
        self.need(user, repository, "write")
        ref = f"refs/heads/{branch}"
        old = gitwork.tip(repository.folder, ref)
        parent = onto or old or gitwork.tip(repository.folder, f"refs/heads/{repository.default_branch}")
        who = (user.login, f"{user.login}@example.org")
        new = sha or gitwork.commit(repository.folder, parent, files or {}, message, who)
        if self.closed_to(user, repository, ref):
            raise Denied(403, f"Protected branch {branch}", "protected")
        if old and not gitwork.is_ancestor(repository.folder, old, new):
            if not force:
                raise Denied(422, "not a fast-forward", "not forward")
            if ref in self.forward_only(repository):
                raise Denied(403, f"Cannot force-push to {branch}", "protected")
        gitwork.git(repository.folder, "update-ref", ref, new)
        self.pushed(user, repository, ref, old or gitwork.ZERO, new)
        return new

    @act
    def delete_branch(self, user: User, repository: Repository, branch: str) -> None:
        """As by a click after the merge."""
        self.need(user, repository, "write")
        ref = f"refs/heads/{branch}"
        old = gitwork.tip(repository.folder, ref)
        if old is None:
            raise Denied(404, "Reference does not exist", "missing")
        if branch in repository.protection or branch == repository.default_branch:
            raise Denied(403, f"Protected branch {branch}", "protected")
        gitwork.git(repository.folder, "update-ref", "-d", ref)
        self.pushed(user, repository, ref, old, gitwork.ZERO)

    def closed_to(self, user: User, repository: Repository, ref: str) -> bool:
        """Whether this user's pushes to a protected branch are refused."""
        rule = repository.protection.get(ref.removeprefix("refs/heads/"))
        bypasses = rule is not None and rule.admins_bypass and self.may(user, repository, "admin")
        return rule is not None and not rule.direct_push and not bypasses

    def closed_refs(self, user: User, repository: Repository) -> list[str]:
        """Patterns of refs that this user may not push."""
        branches = [f"refs/heads/{name}" for name in repository.protection]
        return [*repository.refused_refs, *(ref for ref in branches if self.closed_to(user, repository, ref))]

    def forward_only(self, repository: Repository) -> list[str]:
        """Refs that nobody may rewrite."""
        return [f"refs/heads/{name}" for name, rule in repository.protection.items() if not rule.force_push]

    @act
    def pushed(self, user: User, repository: Repository, ref: str, old: str, new: str) -> None:
        """What follows when a ref has moved, whoever moved it and however."""
        branch = ref.removeprefix("refs/heads/")
        self.notify(Event("branch", repository, user, self.now(), ref=ref, old=old, new=new))
        if branch == ref:
            return
        for pull in list(self.pulls.values()):
            if pull.state != "open" or pull.head_repository != repository.id or pull.branch != branch:
                continue
            if new == gitwork.ZERO:
                self._end(user, pull, "closed")
                continue
            pull.head_sha = new
            pull.versions.append(Version(new, self.now(), user.id))
            self._take_head(pull)
            self.head_moved(pull, old, new, user)
            self._tell("pushed", pull, user, old=old, new=new)

    def head_moved(self, pull: Pull, old: str, new: str, by: User) -> None:
        """What the forge does to standing approvals; a dialect overrides it."""
        rule = self.rule_of(pull)
        if rule is not None and rule.dismiss_stale:
            for review in pull.reviews:
                review.dismissed = review.dismissed or review.state == "approve"

    # --- pull requests

    @act
    def open(
        self, user: User, repository: Repository, branch: str, base: str, title: str, body: str = "",
        *, draft: bool = False, head: Repository | None = None,
    ) -> Pull:  # fmt: skip
        """A new one; `head`: the fork in which the branch lies."""
        self.need(user, repository, "read" if head is not None else "write")
        source = head or repository
        sha, base_sha = (
            gitwork.tip(one.folder, f"refs/heads/{name}") for one, name in ((source, branch), (repository, base))
        )
        if sha is None or base_sha is None:
            raise Denied(422, f"no such branch: {base if base_sha is None else branch}", "no branch")
        for pull in self.pulls_of(repository):
            if (pull.state, pull.head_repository, pull.branch, pull.base) == ("open", source.id, branch, base):
                raise Denied(409, f"a pull request already exists for {branch}", "exists")
        if source is repository and gitwork.is_ancestor(repository.folder, sha, base_sha):
            raise Denied(422, f"No commits between {base} and {branch}", "empty")
        number, now = len(self.pulls_of(repository)) + 1, self.now()
        pull = Pull(
            self.new_id(), number, repository.id, source.id, branch, base, user.id, title, body, sha, base_sha,
            now, now, draft=draft, versions=[Version(sha, now, user.id)],
        )  # fmt: skip
        self.pulls[repository.id, number] = pull
        self._take_head(pull)
        self._tell("opened", pull, user)
        return pull

    def pulls_of(self, repository: Repository) -> list[Pull]:
        """All of one repository, oldest first."""
        return [pull for (number, _), pull in sorted(self.pulls.items()) if number == repository.id]

    @act
    def pull(self, repository: Repository, number: int) -> Pull:
        """By its number."""
        if (repository.id, number) not in self.pulls:
            raise Denied(404, "Not Found", "missing")
        return self.pulls[repository.id, number]

    def rule_of(self, pull: Pull) -> Protection | None:
        """The protection of the branch that it wants to change."""
        return self.repositories[pull.repository].protection.get(pull.base)

    @act
    def edit(
        self, user: User, pull: Pull, *, title: str | None = None, body: str | None = None, base: str | None = None
    ) -> None:
        """New words, or another base (`retarget`)."""
        self._need_author_or_write(user, pull)
        if base is not None and gitwork.tip(self.home(pull).folder, f"refs/heads/{base}") is None:
            raise Denied(422, f"no such branch: {base}", "no branch")
        pull.title = title if title is not None else pull.title
        pull.body = body if body is not None else pull.body
        pull.base = base if base is not None else pull.base
        self._tell("edited", pull, user)

    @act
    def retarget(self, user: User, pull: Pull, base: str) -> None:
        """To another base branch."""
        self.edit(user, pull, base=base)

    @act
    def close(self, user: User, pull: Pull) -> None:
        """Unmerged."""
        self._need_author_or_write(user, pull)
        if pull.state == "open":
            self._end(user, pull, "closed")

    @act
    def reopen(self, user: User, pull: Pull) -> None:
        """A closed one."""
        self._need_author_or_write(user, pull)
        if pull.state != "closed":
            raise Denied(422, f"it is {pull.state}", "not closed")
        source = self.repositories[pull.head_repository or pull.repository]
        sha = gitwork.tip(source.folder, f"refs/heads/{pull.branch}")
        if sha is None:
            raise Denied(422, "the branch was deleted", "no branch")
        pull.state, pull.closed_by, pull.closed_at, pull.head_sha = "open", None, None, sha
        self._take_head(pull)
        self._tell("reopened", pull, user)

    @act
    def review(self, user: User, pull: Pull, state: str, *, commit_sha: str = "", body: str = "") -> Review:
        """`approve`, `reject` or `comment`; nobody approves their own."""
        self.need(user, self.home(pull), "read")
        self.need_alive(self.home(pull))
        if user.id == pull.author and state != "comment":
            raise Denied(422, "Can not approve your own pull request", "own")
        if pull.state != "open" and state != "comment":
            raise Denied(422, f"it is {pull.state}", "not open")
        review = Review(self.new_id(), user.id, state, body, commit_sha or pull.head_sha, self.now())
        pull.reviews.append(review)
        self._tell("reviewed", pull, user, review=review)
        return review

    @act
    def dismiss(self, user: User, pull: Pull, review_id: int) -> Review:
        """An approval or a refusal is taken back."""
        self.need(user, self.home(pull), "write")
        for review in pull.reviews:
            if review.id == review_id:
                review.dismissed = True
                self._tell("dismissed", pull, user, review=review)
                return review
        raise Denied(404, "Not Found", "missing")

    @act
    def comment(self, user: User, pull: Pull, body: str) -> Comment:
        """Below the pull request."""
        self.need(user, self.home(pull), "read")
        self.need_alive(self.home(pull))
        comment = Comment(self.new_id(), user.id, body, self.now(), self.now())
        pull.comments.append(comment)
        self._tell("commented", pull, user, comment=comment)
        return comment

    @act
    def edit_comment(self, user: User, repository: Repository, comment_id: int, body: str | None) -> Comment:
        """Its author's, or anybody's for an admin; None deletes it."""
        for pull in self.pulls_of(repository):
            for comment in pull.comments:
                if comment.id != comment_id:
                    continue
                if comment.user != user.id:
                    self.need(user, repository, "admin")
                if body is None:
                    pull.comments.remove(comment)
                    return comment
                comment.body, comment.edited_at = body, self.now()
                self._tell("comment_edited", pull, user, comment=comment)
                return comment
        raise Denied(404, "Not Found", "missing")

    @act
    def label(self, user: User, pull: Pull, names: Sequence[str]) -> None:
        """Exactly these; new ones are made."""
        repository = self.home(pull)
        self.need(user, repository, "write")
        for name in names:
            repository.labels.setdefault(name, self.new_id())
        pull.labels = list(dict.fromkeys(names))
        self._tell("labelled", pull, user)

    @act
    def status(
        self, user: User, repository: Repository, sha: str, state: str, context: str, description: str, url: str = ""
    ) -> Status:
        """Of one commit; the newest of a context counts."""
        self.need(user, repository, "write")
        if gitwork.tip(repository.folder, sha) != sha:
            raise Denied(422, f"No commit found for SHA: {sha}", "no commit")
        made = Status(state, context, description, url, user.id, self.now())
        repository.statuses.setdefault(sha, []).append(made)
        return made

    # --- the merge

    @act
    def merge(
        self,
        user: User,
        pull: Pull,
        style: Style = "merge",
        *,
        head_guard: str = "",
        commit: str = "",
        message: str = "",
    ) -> str:
        """By real git onto the base; the new tip. `manual`: the user names a commit of the base."""
        repository = self.home(pull)
        self.need(user, repository, "write")
        if pull.state != "open" or pull.draft:
            raise Denied(405, f"it is {'a draft' if pull.draft else pull.state}", "not mergeable")
        if head_guard and head_guard != pull.head_sha:
            raise Denied(409, "Head branch was modified. Review and try the merge again.", "head moved")
        if style not in repository.styles:
            raise Denied(405, f"{style} is not allowed in this repository", "style")
        self.check_merge(user, pull, style)
        ref = f"refs/heads/{pull.base}"
        tip = gitwork.tip(repository.folder, ref)
        if tip is None:
            raise Denied(405, "the base branch is gone", "not mergeable")
        new = self._merged(user, pull, style, tip, commit, message)
        pull.style, pull.base_sha = style, tip
        pull.merge_sha = new if style != "fast-forward" else None
        pull.squash_sha = new if style == "squash" else None
        if style != "manual":
            gitwork.git(repository.folder, "update-ref", ref, new, tip)
        self._end(user, pull, "merged")
        self.pushed(user, repository, ref, tip, new)
        return new

    def check_merge(self, user: User, pull: Pull, style: str) -> None:
        """`Denied` when the base's protection is not satisfied."""
        rule, repository = self.rule_of(pull), self.home(pull)
        if rule is None or (rule.admins_bypass and self.may(user, repository, "admin")):
            return
        if len(self.approvals(pull)) < rule.required_reviews:
            raise Denied(405, f"At least {rule.required_reviews} approving review is required", "not approved")

    def approvals(self, pull: Pull) -> list[Review]:
        """The latest word of each reviewer who may write, where it is a yes that stands."""
        latest = {one.user: one for one in pull.reviews if one.state != "comment"}
        return [
            one for one in latest.values()
            if one.state == "approve" and not one.dismissed and self.may(self.users[one.user], self.home(pull), "write")
        ]  # fmt: skip

    def _merged(self, user: User, pull: Pull, style: Style, tip: str, commit: str, message: str) -> str:
        folder, who = self.home(pull).folder, (user.login, f"{user.login}@example.org")
        words = message or f"Merge pull request #{pull.number}\n\n{pull.title}"
        try:
            if style == "merge":
                return gitwork.merged(folder, tip, pull.head_sha, words, who)
            if style == "squash":
                author = self.users[pull.author].login
                title = message or f"{pull.title} (#{pull.number})"
                return gitwork.squashed(folder, tip, pull.head_sha, title, (author, f"{author}@example.org"))
            if style == "rebase":
                return gitwork.rebased(folder, tip, pull.head_sha)
        except gitwork.Clash as error:
            raise Denied(409, f"merge conflict: {error}", "conflict") from error
        if style == "fast-forward":
            if not gitwork.is_ancestor(folder, tip, pull.head_sha):
                raise Denied(405, "the branch must be rebased", "not forward")
            return pull.head_sha
        if not commit or not gitwork.is_ancestor(folder, commit, tip):
            raise Denied(405, f"{commit} is no commit of {pull.base}", "not in base")
        return commit

    # --- inside

    def home(self, pull: Pull) -> Repository:
        """The repository of its base."""
        return self.repositories[pull.repository]

    def _need_author_or_write(self, user: User, pull: Pull) -> None:
        self.need(user, self.home(pull), "read" if user.id == pull.author else "write")

    def _end(self, user: User, pull: Pull, state: str) -> None:
        now = self.now()
        pull.state, pull.closed_at = ("merged" if state == "merged" else "closed"), now
        if state == "merged":
            pull.merged_by, pull.merged_at = user.id, now
        else:
            pull.closed_by = user.id
        self._tell(state, pull, user)

    def _take_head(self, pull: Pull) -> None:
        """As forges do: the base's repository has every head, whoever's branch it is."""
        home, source = self.home(pull), self.repositories[pull.head_repository or pull.repository]
        if source is not home:
            gitwork.git(home.folder, "fetch", "-q", str(source.folder), pull.head_sha)
        gitwork.git(home.folder, "update-ref", f"refs/pull/{pull.number}/head", pull.head_sha)

    def _tell(
        self, name: str, pull: Pull, actor: User, *, review: Review | None = None, comment: Comment | None = None,
        old: str = "", new: str = "",
    ) -> None:  # fmt: skip
        pull.updated_at = self.now()
        self.notify(Event(name, self.home(pull), actor, self.now(), pull, review, comment, pull.branch, old, new))
