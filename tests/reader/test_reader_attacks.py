"""What somebody might try against the server, and what it says to that."""

from __future__ import annotations

import asyncio
import datetime
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from browsing import Browser, browsers, lock_of
from sqlalchemy import event
from worklist_factory import Kit, make_worklist

from scansynth.reader.server.app import create_app
from scansynth.reader.server.guards import MOST_BYTES, Guard
from scansynth.reader.server.limits import Limit
from scansynth.reader.server.locked import export_readings, new_code

NOW = datetime.datetime(2030, 3, 5, 12, 0, tzinfo=datetime.UTC)


class Hands:
    """A clock that the test turns."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime.datetime:
        return self.now

    def turn(self, **by: float) -> None:
        self.now += datetime.timedelta(**by)


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    return make_worklist(tmp_path / "worklist", readers=2, count=5, practice=1, side=16, now=NOW, days=7)


@pytest.fixture
def two(kit: Kit, hands: Hands, database_url: str | None) -> Iterator[list[Browser]]:
    with browsers(create_app(kit.folder, database_url, clock=hands), 2) as opened:
        yield opened


@pytest.fixture
def lone(kit: Kit, hands: Hands) -> Iterator[Browser]:
    """A reader who has begun, on SQLite: for what never reaches the database."""
    with browsers(create_app(kit.folder, clock=hands)) as (browser,):
        browser.begin(kit.tokens["r01"])
        yield browser


def told(answer: httpx.Response) -> tuple[Any, ...]:
    """All that a browser receives."""
    return answer.status_code, answer.content, sorted(answer.headers.items())


# invitations and sessions


def test_spent_expired_and_invented_invitations_get_one_answer(kit: Kit, hands: Hands, two: list[Browser]) -> None:
    visitor, reader = two
    invented = told(visitor.post("/i/" + "A" * 43))
    reader.begin(kit.tokens["r01"])
    assert told(visitor.post(f"/i/{kit.tokens['r01']}")) == invented  # replayed
    assert told(visitor.get(f"/i/{kit.tokens['r01']}")) == invented
    assert reader.get("/api/state").status_code == 200  # the replay ended nothing
    hands.turn(days=7, seconds=1)
    assert told(visitor.post(f"/i/{kit.tokens['r02']}")) == invented  # expired
    assert reader.get("/api/state").status_code == 200  # who has begun may end the reading
    assert "set-cookie" not in dict(invented[2])


def test_looking_at_an_invitation_spends_nothing(kit: Kit, two: list[Browser]) -> None:
    for _ in range(20):
        assert two[0].get(f"/i/{kit.tokens['r01']}").status_code == 200
    two[1].begin(kit.tokens["r01"])


def test_an_invitation_works_once_also_at_the_same_moment(kit: Kit, two: list[Browser]) -> None:
    async def all_at_once() -> list[int]:
        clients = [
            httpx.AsyncClient(transport=httpx.ASGITransport(two[0].app), base_url=two[0].base_url) for _ in range(8)
        ]
        answers = await asyncio.gather(*(client.post(f"/i/{kit.tokens['r01']}") for client in clients))
        return sorted(answer.status_code for answer in answers)

    assert two[0].loop.run_until_complete(all_at_once()) == [200] + [404] * 7


def test_invented_cookies_open_nothing(two: list[Browser], kit: Kit) -> None:
    visitor, reader = two
    reader.begin(kit.tokens["r01"])
    good = dict(reader.client.cookies)["reader"]
    for cookie in ("", "x" * 43, good[:-1], good + "A", good.swapcase(), "x" * 5000, "' OR 1=1 --"):
        visitor.client.headers["cookie"] = f"reader={cookie}"
        assert visitor.get("/api/state").status_code == 401
    visitor.client.headers["cookie"] = f"administrator={good}"
    assert visitor.get("/api/admin").status_code == 401


def test_a_session_ends_when_it_is_long_unused(kit: Kit, hands: Hands, lone: Browser) -> None:
    for _ in range(5):
        hands.turn(days=13)
        assert lone.get("/api/state").status_code == 200
    hands.turn(days=14, minutes=2)
    assert lone.get("/api/state").status_code == 401


def test_the_administrators_session_ends_the_same_day(kit: Kit, hands: Hands, lone: Browser) -> None:
    assert lone.post("/admin", data={"token": kit.administrator}).status_code == 303
    hands.turn(hours=11)
    assert lone.get("/api/admin").status_code == 200
    hands.turn(hours=13)
    assert lone.get("/api/admin").status_code == 401


def test_a_lost_code_is_replaced_and_ends(kit: Kit, two: list[Browser], database_url: str | None) -> None:
    reader, other = two
    old = reader.begin(kit.tokens["r01"])
    new = new_code(kit.folder, "r01", database_url)
    assert reader.get("/api/state").status_code == 401
    assert other.post("/resume", data={"code": old}).status_code == 403
    assert other.post("/resume", data={"code": new}).status_code == 303
    unopened = new_code(kit.folder, "r02", database_url)  # an invitation that went astray
    assert reader.post(f"/i/{kit.tokens['r02']}").status_code == 404
    assert reader.post("/resume", data={"code": unopened}).status_code == 303


# items and answers


def test_what_is_another_readers_is_as_what_is_not_there(kit: Kit, two: list[Browser]) -> None:
    mine, other = two
    mine.begin(kit.tokens["r01"])
    other.begin(kit.tokens["r02"])
    invented = "0" * 32
    theirs = other.state()["item"]["id"]
    later = kit.worklist.readers[0].sequence[3].item  # mine, and not shown yet
    for method, path in (
        ("GET", "/api/buffer/"),
        ("PUT", "/api/draft/"),
        ("POST", "/api/lock/"),
        ("POST", "/api/undo/"),
    ):
        value = {"GET": None, "PUT": {"answer": 1}, "POST": lock_of()}[method]
        answers = [told(mine.change(method, path + item, value)) for item in (invented, theirs, later)]
        assert answers[0] == answers[1] == answers[2]
        assert answers[0][0] == 404


def test_only_the_current_and_the_next_image_are_given_out(kit: Kit, lone: Browser) -> None:
    places = (*kit.worklist.readers[0].practice, *kit.worklist.readers[0].sequence)
    for current in range(len(places)):
        status = [lone.get(f"/api/buffer/{place.item}").status_code for place in places]
        told = (
            range(current) if current <= len(kit.worklist.readers[0].practice) else []
        )  # practice, until reading began
        assert [number for number, code in enumerate(status) if code == 200] == [
            *told, *(number for number in (current, current + 1) if number < len(places))
        ]  # fmt: skip
        lone.read_on(1)


def test_a_locked_answer_cannot_be_changed(kit: Kit, two: list[Browser], database_url: str | None) -> None:
    browser = two[0]
    browser.begin(kit.tokens["r01"])
    browser.read_on(1)
    item = browser.state()["item"]["id"]
    assert browser.lock(item, answer=2).status_code == 200
    refused = browser.lock(item, answer=5)
    assert refused.status_code == 409
    assert refused.json()["item"]["id"] == browser.state()["item"]["id"] != item
    assert browser.change("PUT", f"/api/draft/{item}", {"answer": 5}).status_code == 409
    for method in ("PUT", "PATCH", "DELETE"):
        assert browser.change(method, f"/api/lock/{item}", lock_of(5)).status_code == 405
    assert [row.answer for row in export_readings(kit.folder, database_url).readings] == [2]


def test_an_image_cannot_be_skipped(lone: Browser) -> None:
    following = lone.state()["next"]["id"]
    assert lone.lock(following).status_code == 409
    assert lone.change("PUT", f"/api/draft/{following}", {"answer": 1}).status_code == 409


def test_a_resend_gives_the_same_and_counts_once(kit: Kit, two: list[Browser], database_url: str | None) -> None:
    browser, other = two
    browser.begin(kit.tokens["r01"])
    other.begin(kit.tokens["r02"])
    practice, first = kit.worklist.readers[0].practice[0].item, kit.worklist.readers[0].sequence[0].item
    for item in (practice, first):
        sent = lock_of(4, nonce=f"nonce-of-{item[:8]}")
        answers = [browser.change("POST", f"/api/lock/{item}", sent) for _ in range(3)]
        assert {answer.status_code for answer in answers} == {200}
        assert answers[0].content == answers[1].content == answers[2].content
    # the same nonce with anything else in it is no resend
    assert browser.change("POST", f"/api/lock/{first}", sent | {"answer": 5}).status_code == 409
    assert browser.change("POST", f"/api/lock/{first}", sent | {"seconds": 9.0}).status_code == 409
    # nor is it one by another reader, who learns nothing
    theirs = other.state()["item"]["id"]
    assert other.change("POST", f"/api/lock/{theirs}", sent).status_code == 409
    assert len(export_readings(kit.folder, database_url).readings) == 1


def test_two_tabs_lock_once(kit: Kit, two: list[Browser], database_url: str | None) -> None:
    browser = two[0]
    browser.begin(kit.tokens["r01"])
    browser.read_on(1)
    item = browser.state()["item"]["id"]

    async def both() -> list[httpx.Response]:
        headers = {"x-csrf-token": browser.csrf}
        sent = (
            browser.client.post(f"/api/lock/{item}", json=lock_of(answer), headers=headers) for answer in (1, 6) * 4
        )
        return list(await asyncio.gather(*sent))

    answers = browser.loop.run_until_complete(both())
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
    assert len({json.dumps(answer.json()["item"]) for answer in answers}) == 1  # all tabs go to the same image
    rows = export_readings(kit.folder, database_url).readings
    winner = next(number for number, answer in enumerate(answers) if answer.status_code == 200)
    assert [row.answer for row in rows] == [(1, 6)[winner % 2]]


def test_clocks_that_jump_turn_no_order_round(
    kit: Kit, two: list[Browser], hands: Hands, database_url: str | None
) -> None:
    browser = two[0]
    code = browser.begin(kit.tokens["r01"])
    for days in (0.0, 2.0, -3.0, 0.5, -1000.0, 1003.0):
        hands.turn(days=days)
        if days > 14:  # for the server the reader was away: the code opens the reading where it was
            assert browser.get("/api/state").status_code == 401
            assert browser.post("/resume", data={"code": code}).status_code == 303
        browser.read_on(1)
    rows = export_readings(kit.folder, database_url).readings
    assert [row.position for row in rows] == [1, 2, 3, 4, 5]
    assert [row.locked_at for row in rows] == sorted(row.locked_at for row in rows)
    assert {row.seconds for row in rows} == {2.5}  # the page's own, from a clock that counts only up


# bodies and headers


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"answer"',
        b'{"answer": 3}',
        b"\xff\xfe",
        b"[" * 15_000,
        json.dumps(lock_of(0)).encode(),
        json.dumps(lock_of(7)).encode(),
        json.dumps(lock_of() | {"answer": "3"}).encode(),
        json.dumps(lock_of() | {"answer": 3.0}).encode(),
        json.dumps(lock_of() | {"answer": True}).encode(),
        json.dumps(lock_of() | {"answer": None}).encode(),
        json.dumps(lock_of(seconds=float("nan"))).encode(),
        json.dumps(lock_of(seconds=float("inf"))).encode(),
        json.dumps(lock_of()).replace("2.5", "1e999").encode(),
        json.dumps(lock_of(seconds=-0.1)).encode(),
        json.dumps(lock_of(seconds=1e12)).encode(),
        json.dumps(lock_of(hidden_seconds="1")).encode(),
        json.dumps(lock_of(window_changes=10**30)).encode(),
        json.dumps(lock_of(window_changes=-1)).encode(),
        json.dumps(lock_of(zoomed=1)).encode(),
        json.dumps(lock_of(nonce="short")).encode(),
        json.dumps(lock_of(nonce="x" * 65)).encode(),
        json.dumps(lock_of(nonce="'; DROP TABLE readings")).encode(),
        json.dumps(lock_of(nonce="abcdefgh\n")).encode(),
        json.dumps(lock_of(second=1)).encode(),
        json.dumps(lock_of(truth="real")).encode(),
        json.dumps(lock_of())[:-1].encode() + b', "answer": 6}',
    ],
)
def test_what_is_no_answer_is_refused(lone: Browser, body: bytes) -> None:
    state = lone.state()
    headers = {"x-csrf-token": lone.csrf, "content-type": "application/json"}
    answer = lone.post(f"/api/lock/{state['item']['id']}", content=body, headers=headers)
    assert answer.status_code in {400, 422}
    assert list(answer.json()) == ["error"]
    assert lone.state() == state


def test_changes_need_the_token_of_the_page(lone: Browser) -> None:
    item = lone.state()["item"]["id"]
    for token in (None, "", "0" * 64, lone.csrf[:-1], lone.csrf.upper(), "é"):
        headers = {} if token is None else {b"x-csrf-token": token.encode()}
        asked = (
            lone.post(f"/api/lock/{item}", json=lock_of(), headers=headers),
            lone.request("PUT", f"/api/draft/{item}", json={"answer": 1}, headers=headers),
            lone.post("/api/pause", json={"paused": True, "seconds": 1.0}, headers=headers),
            lone.post("/api/logout", headers=headers),
        )
        assert [answer.status_code for answer in asked] == [403] * 4
    assert lone.state()["practice_done"] == 0


def test_the_token_of_another_session_is_none(kit: Kit, two: list[Browser]) -> None:
    mine, other = two
    mine.begin(kit.tokens["r01"])
    other.begin(kit.tokens["r02"])
    item = mine.state()["item"]["id"]
    mine.csrf = other.csrf
    assert mine.lock(item).status_code == 403


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "same-origin", "origin": "null"}, True),
        ({"origin": "https://elsewhere.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": "http://127.0.0.1:9999"}, False),
        ({"origin": "http://127.0.0.1:8765"}, True),
        ({}, True),
    ],
)
def test_pages_of_other_sites_change_nothing(lone: Browser, headers: dict[str, str], allowed: bool) -> None:
    item = lone.state()["item"]["id"]
    sent = lone.post(f"/api/lock/{item}", json=lock_of(), headers={"x-csrf-token": lone.csrf} | headers)
    assert sent.status_code == (200 if allowed else 403)


def test_forms_are_no_json_and_json_no_form(kit: Kit, lone: Browser) -> None:
    item = lone.state()["item"]["id"]
    token = {"x-csrf-token": lone.csrf}
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        headers = token | {"content-type": kind}
        assert lone.post(f"/api/lock/{item}", content=json.dumps(lock_of()), headers=headers).status_code == 415
    assert lone.post("/resume", json={"code": "x"}).status_code == 415
    many = "&".join(f"a{number}=1" for number in range(100))
    form = {"content-type": "application/x-www-form-urlencoded"}
    for body in (many, b"code=\xff", "code=%ff"):
        assert lone.post("/resume", content=body, headers=form).status_code in {400, 403}


def test_bodies_that_are_too_long_are_cut_off(lone: Browser) -> None:
    item = lone.state()["item"]["id"]
    headers = {"x-csrf-token": lone.csrf, "content-type": "application/json"}
    declared = lone.post(f"/api/lock/{item}", content=b" " * (MOST_BYTES + 1), headers=headers)
    assert (declared.status_code, declared.headers["connection"]) == (413, "close")
    sent = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 1024
            yield b" " * 1024

    chunked = lone.post(f"/api/lock/{item}", content=pieces(), headers=headers)
    assert chunked.status_code == 413
    assert sent <= MOST_BYTES + 2048  # the rest was not even taken
    for length in ("-1", "99999999999999999999", "1e3", "²"):
        odd = lone.post(f"/api/lock/{item}", content=b"{}", headers=headers | {"content-length": length.encode()})
        assert odd.status_code == 413
    fits = json.dumps(lock_of()).encode().ljust(MOST_BYTES)
    assert lone.post(f"/api/lock/{item}", content=fits, headers=headers).status_code == 200


def test_a_body_that_dribbles_in_is_cut_off(monkeypatch: pytest.MonkeyPatch, lone: Browser) -> None:
    monkeypatch.setattr("scansynth.reader.server.guards._BODY_SECONDS", 0.2)

    async def dribble() -> AsyncIterator[bytes]:
        yield b" "
        await asyncio.Event().wait()  # and nothing more, ever

    assert lone.post("/api/pause", content=dribble()).status_code == 408


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static/..%5capp.py",
        "/static/%252e%252e%252fapp.py",
        "/static/base.css%00.js",
        "/static/base.css/",
        "/static//etc/passwd",
        "/static/.",
        "/api/buffer/..%2f..%2fworklist.json",
        "/api/buffer/%2e%2e%2fworklist.json",
        "/api/buffer//etc/passwd",
        "/worklist.json",
        "/sealed.bin",
        "/readings.db",
        "/templates/base.html",
    ],
)
def test_no_path_leads_out(lone: Browser, path: str) -> None:
    url = httpx.URL(lone.base_url).copy_with(raw_path=path.encode())
    answer = lone.loop.run_until_complete(lone.client.request("GET", url))
    assert answer.status_code == 404
    assert "Not found." in answer.text


def test_methods_that_are_not_meant_are_refused(lone: Browser) -> None:
    for path in ("/read", "/api/state", "/api/buffer/x", "/static/base.css", "/api/admin"):
        for method in ("POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "HEAD", "OPTIONS", "BREW"):
            assert lone.request(method, path).status_code == 405, (method, path)
    assert lone.get("/api/pause").status_code == 405


# how often, and by what name


def test_guesses_are_slowed_down_and_readers_are_not(kit: Kit, hands: Hands) -> None:
    with browsers(create_app(kit.folder, clock=hands), 2) as (guesser, reader):
        code = reader.begin(kit.tokens["r01"])
        status = [guesser.post("/resume", data={"code": f"guess-{number}"}).status_code for number in range(15)]
        assert status == [403] * 10 + [429] * 5
        assert guesser.get("/i/guess").status_code == 429
        wrong = [guesser.post("/admin", data={"token": f"x{number}"}).status_code for number in range(12)]
        assert wrong == [403] * 10 + [429] * 2, "readers' tries are not the administrator's"
        assert reader.read_on()["phase"] == "done"
        # one who mistypes shuts nobody out: what is right enters from the same address
        assert guesser.post("/admin", data={"token": kit.administrator}, follow_redirects=False).status_code == 303
        assert guesser.post("/i/" + kit.tokens["r02"]).status_code == 200
        assert guesser.post("/resume", data={"code": code}, follow_redirects=False).status_code == 303


@pytest.mark.parametrize(
    "typed",
    [
        str.lower,
        lambda code: code.replace("-", ""),
        lambda code: code.replace("-", " \u2013 "),  # en dashes, as a word processor makes them
        lambda code: code.replace("-", "\u2011"),
        lambda code: "".join(chr(ord(sign) + 0xFEE0) for sign in code),  # full-width letters and digits
        lambda code: f"\u00a0{code}\u200b",
    ],
)
def test_a_code_may_be_typed_as_people_type(kit: Kit, hands: Hands, typed: Callable[[str], str]) -> None:
    with browsers(create_app(kit.folder, clock=hands), 2) as (first, second):
        code = first.begin(kit.tokens["r01"])
        assert second.post("/resume", data={"code": typed(code)}, follow_redirects=False).status_code == 303
        assert second.post("/resume", data={"code": typed(code) + "0"}).status_code == 403


def test_a_signed_in_reader_goes_on_by_the_own_invitation(kit: Kit, hands: Hands) -> None:
    """F5 on the page of the code, Back, and the mail's link the next day."""
    link = f"/i/{kit.tokens['r01']}"
    with browsers(create_app(kit.folder, clock=hands), 2) as (reader, other):
        reader.begin(kit.tokens["r01"])
        hands.turn(days=1)
        for answer in (reader.get(link, follow_redirects=False), reader.post(link, follow_redirects=False)):
            assert (answer.status_code, answer.headers["location"]) == (303, "/read")
        assert reader.read_on()["phase"] == "done"
        assert other.get(link).status_code == other.post(link).status_code == 404, "spent for everybody else"
        assert reader.get(f"/i/{kit.tokens['r02']}").status_code == 200, "another's invitation is another's"


def test_one_session_cannot_hold_up_the_server(kit: Kit, hands: Hands) -> None:
    app = create_app(kit.folder, clock=hands)
    app.state.service = replace(app.state.service, requests=Limit(rate=0.0, burst=4.0))
    with browsers(app, 2) as (greedy, reader):
        greedy.begin(kit.tokens["r01"])  # one request of the session
        status = [greedy.get("/api/state").status_code for _ in range(5)]
        assert status == [200] * 3 + [429] * 2
        reader.begin(kit.tokens["r02"])
        assert reader.get("/api/state").status_code == 200


def test_a_bucket_fills_again_and_memory_stays_bounded() -> None:
    now = 0.0
    limit = Limit(rate=2.0, burst=3.0, counter=lambda: now)
    assert [limit.take("a") for _ in range(5)] == [True] * 3 + [False] * 2
    now = 0.5
    assert [limit.take("a"), limit.take("a"), limit.take("b")] == [True, False, True]
    now = 1000.0
    assert [limit.take("a") for _ in range(4)] == [True] * 3 + [False]
    for number in range(20_000):
        limit.take(str(number))
    assert len(limit._buckets) <= 10_000


def test_names_that_lead_to_the_server_by_a_trick_are_refused(kit: Kit, hands: Hands) -> None:
    with browsers(create_app(kit.folder, clock=hands, hosts=("localhost", "127.0.0.1", "::1"))) as (browser,):
        for host, status in (
            ("localhost:8765", 200),
            ("LOCALHOST", 200),
            ("[::1]:8765", 200),
            ("evil.example", 400),
            ("127.0.0.1.evil.example", 400),
            ("evil@127.0.0.1:80@evil.example", 400),
            ("[::1", 400),
            ("", 400),
        ):
            assert browser.get("/resume", headers={"host": host}).status_code == status, host


def test_one_address_has_a_limit(kit: Kit, hands: Hands) -> None:
    guarded = Guard(create_app(kit.folder, clock=hands), visitors=Limit(rate=0.0, burst=3.0))

    async def ask() -> list[int]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(guarded), base_url="http://x") as client:
            return [(await client.get("/resume")).status_code for _ in range(5)]

    assert asyncio.run(ask()) == [200] * 3 + [429] * 2


def test_faults_say_nothing_of_what_was_asked(
    kit: Kit, lone: Browser, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A planted fault in the midst of a lock: an answer without a trace, a log line without a value."""
    item = lone.state()["item"]["id"]

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError(f"secret {item}")

    monkeypatch.setattr("scansynth.reader.server.api.lock_answer", broken)
    answer = lone.lock(item)
    assert (answer.status_code, list(answer.json())) == (500, ["error"])
    assert "RuntimeError" in caplog.text
    for text in (answer.text, caplog.text):
        assert item not in text
        assert "secret" not in text
    monkeypatch.undo()
    assert lone.lock(item).status_code == 200


def test_a_full_disk_loses_no_answer_that_was_confirmed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The database may not grow: the answer is refused for now, and is taken when there is room again."""
    kit = make_worklist(tmp_path / "worklist", readers=1, count=80, practice=0, side=8)
    room = 0

    def tighten(connection: Any, _: Any) -> None:
        if room:
            connection.execute(f"PRAGMA max_page_count={room}")

    with browsers(create_app(kit.folder)) as (browser,):
        engine = browser.app.state.service.database.engine
        event.listen(engine, "connect", tighten)
        browser.begin(kit.tokens["r01"])
        state = browser.read_on(2)
        with engine.connect() as connection:
            room = connection.exec_driver_sql("PRAGMA page_count").scalar_one() + 2
        engine.dispose()
        while True:
            sent = lock_of(2)
            answer = browser.change("POST", f"/api/lock/{state['item']['id']}", sent)
            if answer.status_code != 200:
                break
            state = answer.json()
        assert answer.status_code == 503
        assert "the database failed" in caplog.text
        assert browser.state() == state  # nothing of the lock that failed is there
        room = 0
        engine.dispose()
        assert browser.change("POST", f"/api/lock/{state['item']['id']}", sent).status_code == 200
    assert len(export_readings(kit.folder).readings) == state["done"] + 1
