"""The log of a run: whole as a file, as a stream that goes on where it was cut, filtered, and shown as text only."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from receiver.domain.run import RunEvent, RunResult
from receiver.identity import new_id
from receiver.ports import Lines
from tests.door import Door, proposed, serving

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 11, 26, tzinfo=UTC)
MANY = 100_000


def line(seq: int, kind: str = "ok", host: str = "web1", text: str = "", diff: str = "") -> RunEvent:
    return RunEvent(seq=seq, at=NOW, kind=kind, host=host, task="do it", text=text or f"word {seq}", diff=diff)


async def begun(door: Door, mode: Any = "run") -> tuple[str, str]:
    """A run whose process lives; (run, attempt)."""
    case = await proposed(door)
    return case.runfile.run, await door.office.store.runs.begin(case.runfile.run, case.id, mode, "test")


async def ended(door: Door, attempt: str) -> None:
    result = RunResult(status="successful", started_at=NOW, ended_at=NOW)
    await door.office.store.runs.finish(attempt, result)


async def told(answer: httpx.Response) -> AsyncIterator[tuple[str, str, dict[str, Any]]]:
    """Server-sent events: id, kind, data."""
    found: dict[str, str] = {}
    async for row in answer.aiter_lines():
        name, _, value = row.partition(": ")
        found[name] = value
        if not row and "data" in found:
            yield found.get("id", ""), found.get("event", ""), json.loads(found["data"])
            found = {}


async def test_a_hundred_thousand_lines_are_a_file_that_is_never_whole_in_memory(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, attempt = await begun(door)
    async with door.office.store.pool.connection() as connection:
        await connection.execute(
            "INSERT INTO run_events (attempt_id, seq, at, kind, text)"
            " SELECT %s, n, now(), 'ok', 'word ' || n FROM generate_series(1, %s) AS n",
            (attempt, MANY),
        )
    logs, pages = door.app.state.parts.logs, []
    real = logs.run_log

    async def counted(id: str, *, limit: int = 1000, **given: Any) -> list[dict[str, Any]]:
        pages.append(limit)
        return await real(id, limit=limit, **given)  # type: ignore[no-any-return]

    monkeypatch.setattr(logs, "run_log", counted)
    headers, count, last, read_at_first = await door.token("read"), 0, b"", 0
    async with (
        serving(door) as (url, _, _),
        httpx.AsyncClient(base_url=url, timeout=120) as http,
        http.stream("GET", f"/api/runs/{run}/log?download=1", headers=headers) as answer,
    ):
        said = answer.headers
        async for chunk in answer.aiter_bytes():
            read_at_first = read_at_first or len(pages)
            count, last = count + chunk.count(b"\n"), chunk
    assert (count, last.rstrip().endswith(b"word 100000")) == (MANY, True)
    assert said["content-disposition"] == f'attachment; filename="run-{run}.log"'
    assert (said["x-content-type-options"], said["content-type"]) == ("nosniff", "text/plain; charset=utf-8")
    assert max(pages) <= 1000 and len(pages) >= MANY // 1000 and read_at_first < len(pages) // 2


async def test_a_file_is_of_one_attempt_whatever_begins_meanwhile(door: Door) -> None:
    run, attempt = await begun(door, "check")
    store = door.office.store
    await store.runs.record(attempt, [line(n) for n in range(5)])
    await store.runs.begin(run, (await store.archive.run_case(run))["id"], "run", "test")  # type: ignore[index]
    of = Lines(attempt=attempt)
    assert [one["seq"] for one in await store.archive.run_log(run, after=2, of=of)] == [3, 4]
    assert await store.archive.run_log(run, after=2) == []
    assert await store.archive.run_log(run, of=Lines(attempt=new_id())) == []


async def test_a_stream_goes_on_where_it_was_cut_and_ends_with_the_run(door: Door) -> None:
    run, attempt = await begun(door)
    runs, headers = door.office.store.runs, await door.token("read") | {"accept": "text/event-stream"}
    await runs.record(attempt, [line(0), line(1)])
    seen: list[int] = []
    async with serving(door) as (url, _, _), httpx.AsyncClient(base_url=url, timeout=60) as http:
        async with http.stream("GET", f"/api/runs/{run}/log", headers=headers) as answer:
            async for id, _, data in told(answer):
                seen.append(data["seq"])
                if data["seq"] == 1:
                    await runs.record(attempt, [line(2)])
                if data["seq"] == 2:
                    last = id
                    break
        await runs.record(attempt, [line(n) for n in range(3, 2500)])
        kinds: list[str] = []
        again = headers | {"last-event-id": last}
        async with http.stream("GET", f"/api/runs/{run}/log", headers=again) as answer:
            async for _, kind, data in told(answer):
                kinds.append(kind)
                seen += [data["seq"]] if kind == "line" else []
                if data.get("seq") == 2499:
                    await runs.record(attempt, [line(2500)])
                    await ended(door, attempt)
    assert seen == list(range(2501)) and kinds[-1] == "end" and kinds.count("end") == 1


async def test_lines_are_found_by_host_kind_and_word(door: Door) -> None:
    run, attempt = await begun(door)
    lines = [line(0), line(1, "failed", "web2", "No space LEFT"), line(2, "changed", "web2", diff="+space")]
    await door.office.store.runs.record(attempt, lines)
    headers = await door.token("read")

    async def seqs(query: str) -> list[int]:
        answer = await door.http.get(f"/api/runs/{run}/log?{query}", headers=headers)
        return [one["seq"] for one in answer.json()["items"]]

    assert await seqs("host=web2") == [1, 2] and await seqs("kind=failed&kind=ok") == [0, 1]
    assert await seqs("word=space") == [1, 2] and await seqs("word=space&kind=changed&host=web2") == [2]
    assert await seqs("word=%25") == [] and await seqs("host=%00") == []
    text = (await door.http.get(f"/api/runs/{run}/log?download&host=web2", headers=headers)).text
    assert text.splitlines()[0].endswith("failed web2 do it No space LEFT") and "\n    +space\n" in text


async def test_the_page_shows_text_only_and_leads_to_the_first_failure(door: Door) -> None:
    run, attempt = await begun(door)
    evil = "<script>alert(1)</script>"
    lines = [line(n) for n in range(50)] + [line(50, "failed", "web2", evil, evil), line(51, "failed")]
    await door.office.store.runs.record(attempt, lines)
    anna = await door.session("anna")
    page = (await anna.get(f"/runs/{run}")).text
    assert evil not in page and page.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 2
    assert f'href="/runs/{run}?after=40#L50"' in page
    shown = (await anna.get(f"/runs/{run}?after=40")).text
    assert 'id="L50"' in shown and 'id="L40"' not in shown
    found = (await anna.get(f"/runs/{run}?kind=failed&host=web2")).text
    assert 'id="L50"' in found and 'id="L51"' not in found and "host=web2" in found.split("hx-sse:connect")[1]
    await anna.aclose()


async def test_the_page_gets_new_lines_and_the_end_by_itself(door: Door) -> None:
    run, attempt = await begun(door)
    runs = door.office.store.runs
    await runs.record(attempt, [line(0)])
    anna, got = await door.session("anna"), ""
    async with serving(door) as (url, _, _), httpx.AsyncClient(base_url=url, timeout=60, cookies=anna.cookies) as http:
        page = (await http.get(f"/runs/{run}")).text
        path = page.split('hx-sse:connect="')[1].split('"')[0].replace("&amp;", "&")
        async with http.stream("GET", path) as answer:
            assert answer.status_code == 200, path
            await runs.record(attempt, [line(1, text="<b>new</b>")])
            await ended(door, attempt)
            async with asyncio.timeout(50):
                async for chunk in answer.aiter_text():
                    got += chunk
    assert (
        "&lt;b&gt;new&lt;/b&gt;" in got
        and 'id="L0"' not in got
        and got.count("event: end") == 1
        and "successful" in got
    )
    await anna.aclose()


async def test_a_run_that_was_not_begun_says_what_it_waits_for(door: Door) -> None:
    case = await proposed(door)
    run = new_id()
    anna = await door.session("anna")
    assert (await anna.get(f"/runs/{run}")).status_code == 404
    async with door.office.store.pool.connection() as connection:
        await connection.execute("DELETE FROM run_events")
        await connection.execute("DELETE FROM attempts")
    page = (await anna.get(f"/runs/{case.runfile.run}")).text
    assert "needs you" in page and "Nothing was written yet" in page
    await anna.aclose()
