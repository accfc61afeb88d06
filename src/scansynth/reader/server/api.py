"""What the reading page asks and sends, as JSON; see `docs/reader_study.md`.

A reader gets the current image and the next, and nothing else: no other item exists for this reader.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Annotated, Any, NoReturn, TypeVar

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from scansynth.reader.server import marking
from scansynth.reader.server.access import csrf_token, end_session
from scansynth.reader.server.asked import check_marks, check_part, question_of
from scansynth.reader.server.comment import MOST
from scansynth.reader.server.course import counts_of, study_of
from scansynth.reader.server.refusals import OutOfTurn, Refused, nothing_here
from scansynth.reader.server.screening import GOOD, POOR
from scansynth.reader.server.served import Part
from scansynth.reader.server.sessions import (
    READER,
    Service,
    Visit,
    changing_visit_of,
    clear_cookie,
    service_of,
    visit_of,
)
from scansynth.reader.server.store import (
    Answer,
    Draft,
    Progress,
    lock_answer,
    note_event,
    practice_answers,
    progress,
    save_draft,
    undo_answer,
)
from scansynth.reader.server.worklist import Place

router = APIRouter(prefix="/api")

_MONTH_SECONDS = 31 * 86400.0
_CONFIDENCES = 3  # as many as the page offers

Seconds = Annotated[float, Field(ge=0.0, le=_MONTH_SECONDS)]


class Sent(BaseModel):
    """Base of what a page sends: no unknown keys, no texts for numbers, no numbers that are none."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class SentDraft(Sent):
    """An answer that is not locked."""

    answer: int | None = Field(None, ge=1, le=6)
    second: int | None = Field(None, ge=1)
    confidence: int | None = Field(None, ge=1, le=_CONFIDENCES)
    comment: str = Field("", max_length=MOST)
    marks: marking.SentMarks = ()


class SentLock(Sent):
    """An answer to be locked; see `store.Answer`."""

    answer: int = Field(ge=1, le=6)
    second: int | None = Field(None, ge=1)
    confidence: int | None = Field(None, ge=1, le=_CONFIDENCES)
    seconds: Seconds
    hidden_seconds: Seconds = 0.0
    window_changes: int = Field(0, ge=0, le=1_000_000)
    zoomed: bool = False
    comment: str = Field("", max_length=MOST)
    marks: marking.SentMarks = ()
    percent: int | None = Field(None, ge=0, le=100)
    nonce: str = Field(pattern=r"^[0-9A-Za-z_-]{8,64}$")


class SentPause(Sent):
    """A pause begins or ends."""

    paused: bool
    seconds: Seconds = 0.0


class SentScreen(Sent):
    """How the screen shows the test picture."""

    seen: bool


S = TypeVar("S", bound=Sent)


async def sent_json(request: Request) -> bytes:
    """The body of a request, which must call itself JSON: a form of another site cannot.

    Raises:
        Refused: It is something else.
    """
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise Refused(415, "This is not JSON.")
    return await request.body()


Body = Annotated[bytes, Depends(sent_json)]


@router.get("/state")
def state(request: Request) -> Response:
    """Where this reader stands."""
    visit = visit_of(request)
    service = service_of(request)
    return JSONResponse(_state(service, visit, _progress(service, visit)))


@router.get("/buffer/{item}")
def buffer(item: str, request: Request) -> Response:
    """The pixels of the current or the next image: headers and length are the same for every image."""
    service, visit = service_of(request), visit_of(request)
    done, place = _progress(service, visit), visit.order.index.get(item)
    first = visit.order.told
    near = place in {done.place, done.place + 1} and (place is not None and place < first) == (done.place < first)
    if place is None or done.closed or not (near or _was_told(visit, done, place)):
        raise nothing_here()
    return _pixels(service, visit.order.places[place].buffer)


@router.get("/nearest/{item}")
def nearest(item: str, request: Request) -> Response:
    """The real image nearest to a practice case whose truth was told."""
    return _pixels(service_of(request), _told(request, item).nearest)


@router.get("/mask/{item}")
def mask(item: str, request: Request) -> Response:
    """The mask of a practice case whose truth was told."""
    return _pixels(service_of(request), _told(request, item).mask)


@router.get("/reference/{number}")
def reference(number: int, request: Request) -> Response:
    """A real image of another patient, to look at beside."""
    service, visit = service_of(request), visit_of(request)
    names = service.served.worklist.references
    done = _progress(service, visit)
    if not 0 <= number < len(names) or done.closed or done.place < visit.order.told:
        raise nothing_here()
    return _pixels(service, names[number])


def _pixels(service: Service, name: str) -> Response:
    if not name:
        raise nothing_here()
    return Response(service.served.buffer(name), media_type="application/octet-stream")


def _told(request: Request, item: str) -> Place:
    """A practice case whose truth was told.

    Raises:
        Refused: It is none, or the reading has begun.
    """
    service, visit = service_of(request), visit_of(request)
    done, place = _progress(service, visit), visit.order.index.get(item)
    if place is None or done.closed or not _was_told(visit, done, place):
        raise nothing_here()
    return visit.order.places[place]


def _was_told(visit: Visit, done: Progress, place: int) -> bool:
    """Whether the truth of a place was told; it can be looked at again until the first answer that counts."""
    first = visit.order.told
    return first <= place < done.locked <= first + visit.order.practice


@router.put("/draft/{item}")
def draft(item: str, request: Request, body: Body) -> Response:
    """Keeps what is chosen so far."""
    service, visit = service_of(request), changing_visit_of(request)
    sent, part = _checked(SentDraft, body), _part(visit, item)
    _check_second(service, part, sent.second, sent.confidence, complete=False)
    _check_comment(service, part, sent.comment)
    placed = marking.check(service.served.worklist, sent.marks, complete=False)
    check_marks(part, placed)
    kept = Draft(sent.answer, sent.second, sent.confidence, sent.comment, placed)
    try:
        save_draft(service.database, visit.order, item, kept, service.stamp(), service.served.closed())
    except OutOfTurn as refusal:
        return _out_of_turn(service, visit, refusal)
    return JSONResponse({})


@router.post("/lock/{item}")
def lock(item: str, request: Request, body: Body) -> Response:
    """Locks an answer; the answer to this is the new state, and after a practice case what it was."""
    service, visit = service_of(request), changing_visit_of(request)
    sent, part = _checked(SentLock, body), _part(visit, item)
    _check_second(service, part, sent.second, sent.confidence, complete=True)
    _check_comment(service, part, sent.comment)
    placed = marking.check(service.served.worklist, sent.marks, complete=True)
    answer = Answer(**{**sent.model_dump(), "marks": placed})
    check_part(part, answer)

    marked = service.served.closed()
    try:
        now = lock_answer(service.database, visit.order, item, answer, service.stamp(), marked)
    except OutOfTurn as refusal:
        return _out_of_turn(service, visit, refusal)
    place = visit.order.places[visit.order.index[item]]
    feedback = {"feedback": _truth(place)} if place.answer else {}  # of practice cases alone
    return JSONResponse(_state(service, visit, replace(now, closed=now.closed or marked)) | feedback)


@router.post("/undo/{item}")
def undo(item: str, request: Request) -> Response:
    """Takes back the last answer; the answer to this is the new state, in which that image is the current one."""
    service, visit = service_of(request), changing_visit_of(request)
    marked = service.served.closed()
    try:
        now = undo_answer(service.database, visit.order, item, service.stamp(), marked)
    except OutOfTurn as refusal:
        return _out_of_turn(service, visit, refusal)
    return JSONResponse(_state(service, visit, replace(now, closed=now.closed or marked)))


@router.post("/screen")
def screen(request: Request, body: Body) -> Response:
    """Notes whether the test picture of the screen was seen as it should be."""
    service, visit = service_of(request), changing_visit_of(request)
    kind = GOOD if _checked(SentScreen, body).seen else POOR
    with service.database.write() as connection:
        note_event(connection, visit.order.seat.reader, kind, service.stamp())
    return JSONResponse({})


@router.post("/pause")
def pause(request: Request, body: Body) -> Response:
    """Notes that a pause begins or ends."""
    service, visit = service_of(request), changing_visit_of(request)
    sent = _checked(SentPause, body)
    with service.database.write() as connection:
        kind = "paused" if sent.paused else "unpaused"
        note_event(connection, visit.order.seat.reader, kind, service.stamp(), sent.seconds)
    return JSONResponse({})


@router.post("/logout")
def logout(request: Request) -> Response:
    """Signs out."""
    service, visit = service_of(request), changing_visit_of(request)
    end_session(service.database, visit.token, service.now())
    response = JSONResponse({})
    clear_cookie(response, service, READER)
    # not "storage": answers that wait for the network lie there; not "cookies": other programs may share the domain
    response.headers["clear-site-data"] = '"cache"'
    return response


def _out_of_turn(service: Service, visit: Visit, refusal: OutOfTurn) -> Response:
    """Says so, with the state: the page goes where the reading is."""
    told = {"error": refusal.sentence} | _state(service, visit, _progress(service, visit))
    return JSONResponse(told, status_code=refusal.status)


def _progress(service: Service, visit: Visit) -> Progress:
    with service.database.read() as connection:
        found = progress(connection, visit.order)
    return replace(found, closed=found.closed or service.served.closed())


def _state(service: Service, visit: Visit, now: Progress) -> dict[str, Any]:
    order, total = visit.order, len(visit.order.places)
    part = order.part(now.place)
    phase = "done" if now.place == total else part.value
    going_on = phase != "done" and not now.closed
    follows = going_on and now.place + 1 < total and not part.asks and not order.part(now.place + 1).asks
    return {
        **study_of(service.served.worklist, told=now.place >= order.told),
        "csrf": csrf_token(visit.token),
        "phase": "closed" if now.closed else phase,
        **counts_of(order, now.place),
        "item": _named(visit, now.place) if going_on else None,
        "next": _named(visit, now.place + 1) if follows else None,
        "last": _named(visit, now.locked - 1) if now.undoable and not now.closed else None,
        "again": now.again,
        "asked": question_of(part) if going_on else None,
        "just_told": going_on and 0 < order.told == now.locked,
        "review": _review(service, visit) if 0 < order.practice == now.locked - order.told and not now.closed else [],
        "draft": _draft(service, now.draft) if going_on and now.draft else None,
    }


def _truth(place: Place) -> dict[str, Any]:
    return {"truth": place.answer, "nearest": bool(place.nearest), "mask": bool(place.mask)}


def _review(service: Service, visit: Visit) -> list[dict[str, Any]]:
    """What the practice was, and what this reader answered: told until the first answer that counts."""
    with service.database.read() as connection:
        given = practice_answers(connection, visit.order.seat.reader)
    cases = visit.order.seat.practice
    return [
        {"id": case.item, **_draft(service, given[case.item]), **_truth(case)} for case in cases if case.item in given
    ]


def _draft(service: Service, draft: Draft) -> dict[str, Any]:
    return asdict(draft) | {"marks": marking.told(service.served.worklist, draft.marks)}


def _named(visit: Visit, place: int) -> dict[str, Any]:
    return {"id": visit.order.places[place].item, "position": visit.order.position(place)}


def _checked(kind: type[S], body: bytes) -> S:
    """What was sent, when it is of its kind to the last key.

    Raises:
        Refused: It is not.
    """
    try:
        values = json.loads(body, parse_constant=_refuse_constant, object_pairs_hook=_unique)
        return kind.model_validate(values)
    except ValidationError as fault:
        where = ".".join(str(part) for part in fault.errors()[0]["loc"])[:40]
        raise Refused(422, f"The answer is not valid: {where or 'its form'} is missing or wrong.") from None
    except (ValueError, RecursionError):  # also bytes that are not UTF-8
        raise Refused(400, "This is not JSON.") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and Infinity are no JSON (RFC 8259, section 6)


def _unique(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key stands there twice")
    return values


def _part(visit: Visit, item: str) -> Part:
    """To which part an item belongs; whether it is this reader's is asked later, of the database."""
    return visit.order.part(visit.order.index.get(item, len(visit.order.places)))


def _check_second(service: Service, part: Part, second: int | None, confidence: int | None, complete: bool) -> None:
    """Refuses an answer to a second question that is not asked, or, when complete, that is missing."""
    question = service.served.worklist.second_question if part.told else None
    asked = (question is not None, question is not None and question.confidence)
    for value, is_asked in zip((second, confidence), asked, strict=True):
        if value is not None and not is_asked:
            raise Refused(422, "The answer is not valid: this study asks no second question.")
        if complete and is_asked and value is None:
            raise Refused(422, "The second question is not answered yet.")
    if question and second is not None and second > len(question.options):
        raise Refused(422, "The second question has no such answer.")


def _check_comment(service: Service, part: Part, comment: str) -> None:
    if comment and not part.asks and not service.served.worklist.comments:
        raise Refused(422, "The answer is not valid: this study takes no comments.")
