// The reading page: which image is on the screen, and what happens when its answer is locked.

import { getState, postLogout, postUndo } from "./api.js";
import { createAnswers } from "./answers.js";
import { createAsked, reveal } from "./asked.js";
import { createBuffers } from "./buffers.js";
import { checkScreen } from "./check.js";
import { createDrafts } from "./drafts.js";
import { attachGestures } from "./gestures.js";
import { attachKeys, listKeys } from "./keys.js";
import { createLoupe } from "./loupe.js";
import { createMarks } from "./marks.js";
import { nonce } from "./nonce.js";
import { createPause } from "./pause.js";
import { createRest } from "./rest.js";
import { tellScale } from "./scale.js";
import { showWorklist, showScreen } from "./screens.js";
import { createSender } from "./sender.js";
import { hint, say, tellNetwork, tellPlace } from "./status.js";
import { createStopwatch } from "./stopwatch.js";
import { createTimeLeft } from "./timeleft.js";
import { createTools } from "./tools.js";
import { createViewer } from "./viewer.js";

const RETRY = 3000; // milliseconds until something that failed is asked for again
const byId = (id) => document.getElementById(id);

let state = null; // the server's word
let shown = null; // {item, practice, number, ready}: the image on the screen, maybe one ahead of the server
let onward = null; // what Enter does while something stands there to be read
let begun = false; // the end of the practice was seen
let ended = false; // a screen stands in the place of the image for good
let answers = null;
let told = null; // what is spoken of once the reader was told what the study compares
let beside = { hide() {}, usual() {}, follow() {}, toggle: () => false };
let review = null;
let marks = null; // where findings are marked
let asked = null;
let home = "stage"; // where the focus goes with the next image: to where the reader works

const stage = byId("stage");
const form = byId("answers");
const stopwatch = createStopwatch();
const buffers = createBuffers();
const tools = createTools(say, { magnify: () => loupe.toggle(), beside: () => beside.toggle() });
const viewer = createViewer(stage, byId("canvas"), viewed);
const loupe = createLoupe(stage, viewer);
const timeLeft = createTimeLeft();
const measures = () => ({ ...stopwatch.read(), ...viewer.counts() });
const drafts = createDrafts(measures, () => tellNetwork(sender.left(), null), draftFailed);
const focusStage = () => stage.focus({ preventScroll: true });
const pause = createPause(stopwatch, paused, () => end("left"));
const rest = createRest(pause.begin, focusStage);
const sender = createSender({ confirmed, elsewhere, stopped, waiting, aside });

function waiting(left, error) {
  tellNetwork(left, error);
  asked?.waiting(Boolean(error));
}

function viewed(view) {
  tools.changed(view);
  beside.follow(view);
  loupe.draw();
  tellScale(stage, viewer);
}

function end(name, more) {
  ended = true;
  stopwatch.stop();
  viewer.clear();
  const leave = name === "done" || name === "taught";
  showScreen(name, more, () => (leave ? signOut() : location.reload()), name === "done" && state.last ? undo : null);
}

async function signOut() {
  await postLogout().catch(() => {});
  end("left");
}

function stopped(error) {
  const left = sender.left();
  const kept = left ? `Answers not yet sent: ${left}.` : "";
  if (error.status === 401) end("elsewhere", left ? `${kept} They are kept in this browser and sent when you continue here.` : "");
  else if (error.status === 410) end("closed", left ? `${kept} They came too late to be counted.` : "");
  else end("fault", error.message);
}

function cover(text) {
  byId("cover").hidden = !text;
  byId("cover").textContent = text;
}

function lockable(yes) {
  answers.freeze(!yes);
  byId("lock").disabled = !yes;
}

/** Takes the server's word: the image it names is shown, unless it is on the screen already. */
function take(newState) {
  if (state && newState.told && !told) return location.reload(); // the page of the second part
  state = newState;
  onward = null;
  byId("undo").hidden = !state.last;
  if (ended) return;
  if (state.phase === "closed") return end("closed");
  if (state.review.length && !begun) return practised();
  if (state.asked) return ask();
  if (!state.item) return end("done", `You have read ${state.done} of ${state.total} images.`);
  if (shown?.item === state.item.id && !shown.locked) {
    prepareNext();
    return;
  }
  const practice = state.phase === "practice";
  open(state.item.id, practice, practice ? state.practice_done + 1 : state.done + 1);
}

/** The first part is over: a question, before anything is told. */
function ask() {
  shown = null;
  stopwatch.stop();
  viewer.clear();
  asked.offer(state);
}

/** The practice is over: how it went, before the first image that counts. */
function practised() {
  shown = null;
  stopwatch.stop();
  viewer.clear();
  cover(state.teaching ? "These were all images" : "Practice is over");
  form.hidden = true;
  byId("feedback").hidden = true;
  beside.hide();
  review.offer(state);
  if (state.item) buffers.want(state.item.id).catch(() => {});
  onward = () => {
    begun = true;
    review.hide();
    if (state.item) take(state);
    else end("taught");
  };
}

function prepareNext() {
  buffers.keepOnly(shown.item, state.next?.id);
  if (!state.next) return;
  buffers.want(state.next.id).catch((error) => {
    if (error.again) setTimeout(() => shown?.item === state.item?.id && prepareNext(), RETRY);
  });
}

/** Shows an item: at once when its buffer is here, else as soon as it is. */
async function open(item, practice, number) {
  const mine = { item, practice, number, ready: false, locked: false };
  shown = mine;
  byId("feedback").hidden = true;
  form.hidden = false;
  hint("");
  const total = practice ? state.practice_total : state.total;
  const again = state.again && state.item?.id === item;
  tellPlace({ practice, teaching: state.teaching, again, number, total }, practice ? "" : timeLeft.text(total - number + 1));
  byId("undo").hidden = !state.last || state.item?.id !== item;
  beside.usual();
  let pixels = buffers.ready(item);
  if (!pixels) {
    lockable(false);
    viewer.clear();
    cover("Loading the image");
    pixels = await patiently(() => buffers.want(item), () => shown === mine);
    if (!pixels || shown !== mine || ended) return;
  }
  const kept = drafts.of(item, state);
  answers.set(kept);
  lockable(true);
  cover("");
  viewer.show(pixels, kept);
  stopwatch.begin(kept);
  if (pause.open()) stopwatch.stop();
  mine.ready = true;
  byId("canvas").setAttribute("aria-label", byId("where").textContent);
  const proposal = practice ? rest.hide() : rest.propose(number - 1, state.break_every);
  say(`${byId("where").textContent}. ${proposal || ""}`);
  if (document.hasFocus() && !pause.open()) home === "answers" ? answers.focusFirst() : focusStage();
  if (state.item?.id === item) prepareNext();
}

/** Asks again and again while the network is cut; ends the page when the server says no. */
async function patiently(ask, wanted) {
  while (wanted()) {
    try {
      return await ask();
    } catch (error) {
      if (error.status === 403 || error.status === 404) return refresh();
      if (!error.again) return stopped(error);
      if (state) cover("No connection. The image will load when it is back.");
      await new Promise((resolve) => setTimeout(resolve, RETRY));
    }
  }
  return null;
}

function lock() {
  if (ended || !shown?.ready || shown.locked || pause.open()) return;
  const missing = answers.missing();
  if (missing) {
    hint(missing.text);
    if (form.contains(document.activeElement)) missing.input.focus();
    return;
  }
  performance.mark("locked");
  home = form.contains(document.activeElement) ? "answers" : "stage";
  drafts.cancel();
  shown.locked = true;
  stopwatch.stop();
  rest.hide();
  const record = { item: shown.item, ...answers.value(), ...measures(), nonce: nonce() };
  if (!shown.practice) timeLeft.add(record.seconds);
  const next = state.item?.id === shown.item ? state.next?.id : null;
  const { practice, number } = shown;
  sender.push(record);
  if (!practice && next && buffers.ready(next)) {
    open(next, false, number + 1);
    requestAnimationFrame(() => setTimeout(() => performance.measure("lock-to-next", "locked")));
    return;
  }
  lockable(false);
  if (!practice) {
    viewer.clear();
    cover(state.item?.id === shown.item && !next ? "Sending your last answer" : "Waiting for the next image");
  }
}

/** The server has locked an answer. */
function confirmed(newState, record, left) {
  if (newState.feedback && shown?.item === record.item) return feedback(newState, record);
  if (left === 0) take(newState);
}

function feedback(newState, record) {
  onward = () => take(newState);
  told.feedback(newState.feedback, answers.label(record.answer));
  told.show(newState.feedback, record.item, newState.image, viewer, beside, record.marks).then((more) => {
    if (shown?.item === record.item) byId("feedback-why").textContent += more;
  });
  form.hidden = true;
  byId("feedback").hidden = false;
  if (newState.item) buffers.want(newState.item.id).catch(() => {});
  byId("feedback-next").focus();
}

/** The last answer is taken back: its image comes again. Tells whether there was one. */
function undo() {
  if (!state?.last || sender.left() || onward || pause.open()) return false;
  keepNow();
  drafts.cancel();
  postUndo(state.last.id).then((now) => {
    ended = false;
    showWorklist();
    take(now);
  }).catch((error) => (error.body?.phase ? take(error.body) : hint(error.message)));
  return true;
}

/** What was left to send belongs to another reader of this browser, or was refused: the image comes again. */
async function aside(text = "") {
  if (shown) await refresh();
  else take(state);
  if (!ended) hint(text);
}

/** The item was answered in another window: what that one did counts, and the page goes where the server is. */
function elsewhere(newState) {
  if (sender.left()) return;
  take(newState);
  if (!ended) hint("This image was answered in another window. This window now follows it.");
}

/** A draft that was not taken: kept here while the network is cut; else the server knows better. */
function draftFailed(error) {
  if (error.again) tellNetwork(sender.left(), error);
  else if (error.status === 409 || error.status === 404) refresh();
  else if (error.status !== 403) stopped(error);
}

/** Asks where the reader is: another window may have gone on. */
async function refresh() {
  if (ended || !state || onward || sender.left()) return null;
  const before = shown?.item;
  try {
    const now = await getState();
    if (sender.left() || onward || shown?.item !== before) return null;
    if (now.item?.id !== before && shown) shown.locked = true;
    take(now);
  } catch (error) {
    if (!error.again) stopped(error);
  }
  return null;
}

function paused() {
  if (!ended && !shown?.ready) stopwatch.stop();
  if (!ended) focusStage();
}

function keepNow() {
  if (shown?.ready && !shown.locked && !ended) drafts.keepMeasures(shown.item, answers.value());
}

function build() {
  viewer.configure(state.image, state.presets);
  if (told) beside = told.createBeside(viewer, state.image, state.references);
  buffers.configure(state.image);
  tools.bind(viewer, state.image, state.presets);
  const chosen = () => {
    hint("");
    if (shown?.ready && !shown.locked) drafts.changed(shown.item, answers.value());
  };
  marks = state.marking && createMarks(stage, viewer, state.image, state.marking, chosen);
  attachGestures(stage, viewer, tools.moving, marks);
  answers = createAnswers(form, state, chosen, marks);
  if (!told) asked = createAsked(sender.push);
  review = told?.createReview({ buffers, viewer, beside, cover, marks }, (answer) => answers.label(answer));
  listKeys(answers.keys());
  attachKeys({
    answer: (key) => Boolean(shown?.ready && !shown.locked) && answers.press(key),
    image: (key, shift) => viewer.shows() && tools.press(key, shift),
    enter: () => (onward ? onward() : lock()),
    pause: pause.begin,
    undo,
    comment: answers.comment,
    mark: () => Boolean(marks?.add()),
    leave: focusStage,
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    lock();
  });
  for (const id of ["feedback-next", "summary-next"]) byId(id).addEventListener("click", () => onward?.());
  byId("undo").addEventListener("click", undo);
  // A tool that was clicked gives the focus back, so that Enter locks and does not press the tool again.
  byId("worklist").addEventListener("click", (event) => {
    if (event.detail > 0 && event.target.closest(".tools button, .choice, #lock")) focusStage();
  });
  byId("preset").addEventListener("change", focusStage);
  document.addEventListener("visibilitychange", () => (document.hidden ? keepNow() : refresh()));
  globalThis.addEventListener("pagehide", keepNow);
}

async function start() {
  while (!state) {
    try {
      state = await getState();
    } catch (error) {
      if (!error.again) return stopped(error);
      showScreen("lost", "", () => location.reload());
      await new Promise((resolve) => setTimeout(resolve, RETRY));
    }
  }
  if (state.told) told = await import("./told.js");
  build();
  if (state.just_told) await reveal();
  if (state.item && !sender.left()) await checkScreen();
  showWorklist();
  if (state.phase === "closed") return end("closed");
  pause.restore();
  if (sender.left()) {
    lockable(false);
    cover("Sending the answers kept in this browser");
    sender.run();
  } else take(state);
  return null;
}

start().catch((error) => end("fault", String(error)));
