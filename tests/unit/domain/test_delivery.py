"""What webhooks say, in the shapes of three forges; what is odd in them is left out."""

from __future__ import annotations

from typing import Any

import pytest

from receiver.domain.delivery import Delivery, read_hook

SHA = "a" * 40


def pull(**more: Any) -> dict[str, Any]:
    head = {"sha": SHA, "ref": "gitmedic/x", "repo": {"id": 42}}
    return {"repository": {"id": 42}, "sender": {"id": 7}, "pull_request": {"number": 3, "head": head}} | more


def merge_request(**more: Any) -> dict[str, Any]:
    about = {"iid": 3, "source_branch": "gitmedic/x", "source_project_id": 42, "last_commit": {"id": SHA}} | more
    return {"object_kind": "merge_request", "project": {"id": 42}, "user": {"id": 7}, "object_attributes": about}


def read(forge: str, event: str, payload: dict[str, Any]) -> tuple[Any, ...] | None:
    found = read_hook(forge, event, "id-1", payload)
    if found is None:
        return None
    assert (found.forge, found.repository, found.id) == (forge, "42", "id-1")
    return found.event, found.number, found.ref, found.after_sha, found.pusher


def test_a_push() -> None:
    pushed = ("push", None, "refs/heads/main", SHA, "7")
    payload = {"ref": "refs/heads/main", "after": SHA, "repository": {"id": 42}, "sender": {"id": 7}}
    assert read("github", "push", payload) == pushed
    assert read("gitea", "push", payload) == pushed
    payload = {"object_kind": "push", "ref": "refs/heads/main", "after": SHA, "user_id": 7, "project": {"id": 42}}
    assert read("gitlab", "Push Hook", payload) == pushed
    assert read("gitlab", "Merge Request Hook", payload) == pushed, "headers are signed by nobody"


def test_a_branch_that_is_gone_has_no_commit_and_no_pusher() -> None:
    payload = {"ref": "refs/heads/x", "after": "0" * 40, "repository": {"id": 42}, "sender": {"id": 7}}
    assert read("github", "push", payload) == ("push", None, "refs/heads/x", None, None)


@pytest.mark.parametrize("action", ["opened", "closed", "edited", "reopened", "submitted", "dismissed", None])
def test_a_pull_request(action: str | None) -> None:
    for event in ("pull_request", "pull_request_review"):
        assert read("github", event, pull(action=action)) == (event, 3, None, None, None)
    for event in ("pull_request_approved", "pull_request_rejected", "pull_request_comment"):
        assert read("gitea", event, pull(action=action)) == (event, 3, None, None, None)
    assert read("gitlab", "Merge Request Hook", merge_request(action="approved"))[1:] == (3, None, None, None)


def test_new_commits_of_a_pull_request() -> None:
    moved = (3, "refs/heads/gitmedic/x", SHA, "7")
    assert read("github", "pull_request", pull(action="synchronize")) == ("pull_request", *moved)
    assert read("gitea", "pull_request", pull(action="synchronized")) == ("pull_request", *moved)
    assert read("gitlab", "", merge_request(action="update", oldrev="b" * 40)) == ("merge_request", *moved)


@pytest.mark.parametrize("other", [43, None, "42", {}])
def test_new_commits_in_a_fork_say_nothing_of_a_branch_of_ours(other: Any) -> None:
    head = {"sha": SHA, "ref": "gitmedic/x", "repo": {"id": other}}
    for forge, action in (("github", "synchronize"), ("gitea", "synchronized")):
        given = pull(action=action, pull_request={"number": 3, "head": head})
        assert read(forge, "pull_request", given) == ("pull_request", 3, None, None, None)
        given["pull_request"]["head"] = head | {"repo": None}
        assert read(forge, "pull_request", given) == ("pull_request", 3, None, None, None)
    moved = merge_request(action="update", oldrev="b" * 40, source_project_id=other)
    assert read("gitlab", "", moved) == ("merge_request", 3, None, None, None)


@pytest.mark.parametrize(
    ("forge", "event", "payload"),
    [
        ("github", "ping", pull()), ("github", "star", pull()), ("github", "issue_comment", pull()), ("github", "", {}),
        ("github", "push", pull()), ("github", "pull_request", {"repository": {"id": 42}}),
        ("github", "pull_request_target_of_somebody", pull()), ("github", "pull_request", {"pull_request": [3]}),
        ("gitlab", "Push Hook", {"object_kind": "tag_push", "project": {"id": 42}}), ("gitlab", "Push Hook", {}),
        ("gitlab", "Merge Request Hook", {"object_kind": "merge_request", "object_attributes": 7}),
    ],
)  # fmt: skip
def test_nothing_that_is_listened_to(forge: str, event: str, payload: dict[str, Any]) -> None:
    assert read_hook(forge, event, "id-1", payload) is None


@pytest.mark.parametrize("odd", [None, True, 0, -1, "3", 3.0, [], {}, 2**31])
def test_an_odd_number_is_none(odd: Any) -> None:
    found = read_hook("github", "pull_request", "i", pull(pull_request={"number": odd}))
    assert found is not None
    assert found.number is None
    assert read_hook("gitlab", "", "i", merge_request(iid=odd)).number is None  # type: ignore[union-attr]


@pytest.mark.parametrize("odd", [None, "42", True, 0, -2, "\x00", [1]])
def test_an_odd_repository_is_nobodys(odd: Any) -> None:
    for payload in (pull(repository={"id": odd}), pull(repository=odd)):
        found = read_hook("github", "pull_request", "i", payload)
        assert found is not None
        assert found.repository == ""


@pytest.mark.parametrize("odd", [None, 7, "A" * 40, "a" * 39, SHA + "\n", "a" * 41, "\ud800" * 40])
def test_an_odd_commit_is_none_and_has_no_pusher(odd: Any) -> None:
    payload = {"ref": "refs/heads/main", "after": odd, "repository": {"id": 42}, "sender": {"id": 7}}
    assert read("github", "push", payload) == ("push", None, "refs/heads/main", None, None)


@pytest.mark.parametrize("odd", [None, 7, "", "refs/heads/\x00", "refs/heads/\ud800", "r" * 256, "a\nb"])
def test_an_odd_ref_is_none(odd: Any) -> None:
    payload = {"ref": odd, "after": SHA, "repository": {"id": 42}, "sender": {"id": "7"}}
    assert read("github", "push", payload) == ("push", None, None, SHA, None)


def test_a_delivery_takes_no_other_field() -> None:
    with pytest.raises(ValueError, match="extra"):
        Delivery(forge="github", repository="42", id="i", event="push", approved=True)  # type: ignore[call-arg]
