// Marks: circles that a reader sets on findings, in pixels of the image, with a confidence each.

import { hint, say } from "./status.js";

const byId = (id) => document.getElementById(id);
const NEAR = { mouse: 6, pen: 10, touch: 18 }; // CSS pixels from a rim that still hold it
const SHARE = 0.03; // of the image's longer side: radius of the first mark
const STEP = 1; // pixels of the image for each arrow key, and for plus and minus
const FAR = 10; // the same with Shift
const arrows = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
const between = (value, low, high) => Math.min(Math.max(value, low), high);
const hundredth = (value) => Math.round(value * 100) / 100 + 0;

/**
 * @param {HTMLElement} stage
 * @param {object} viewer
 * @param {object} image as the server's state has it
 * @param {object} marking the same: `finding`, `levels`, `most`, `least_radius`, `largest_radius`
 * @param {() => void} changed called when the reader changes a mark
 */
export function createMarks(stage, viewer, image, marking, changed) {
  let marks = [];
  let chosen = -1; // place in `marks`; -1: none
  let frozen = true;
  let held = null; // {part, before, row, column}: a mark in the hand
  let radius = between(SHARE * Math.max(image.rows, image.columns), marking.least_radius, marking.largest_radius);
  let timer = 0;

  const millimetres = (pixels) => `${(pixels * image.spacing[1]).toFixed(1)} mm`;
  const level = (mark) => (mark.confidence ? marking.levels[mark.confidence - 1] : "confidence not given yet");

  function words(at) {
    const mark = marks[at];
    return `Mark ${at + 1}: row ${Math.round(mark.row)}, column ${Math.round(mark.column)}, radius ${millimetres(mark.radius)}, ${level(mark)}`;
  }

  function bound(mark) {
    mark.row = hundredth(between(mark.row, -0.5, image.rows - 0.5));
    mark.column = hundredth(between(mark.column, -0.5, image.columns - 0.5));
    mark.radius = hundredth(between(mark.radius, marking.least_radius, marking.largest_radius));
  }

  /** Draws all marks over the image, whose frame is given in pixels of a canvas; `ratio` is how many a CSS pixel has. */
  function draw(pen, frame, ratio) {
    const one = (ratio * parseFloat(getComputedStyle(document.documentElement).fontSize)) / 16; // the page grows on large screens
    marks.forEach((mark, at) => {
      const x = frame.left + ((mark.column + 0.5) / image.columns) * frame.width;
      const y = frame.top + ((mark.row + 0.5) / image.rows) * frame.height;
      const r = (mark.radius / image.columns) * frame.width;
      pen.save();
      if (!mark.confidence) pen.setLineDash([5 * one, 4 * one]);
      for (const [colour, width] of [["#000000b0", 4], ["#6fd3e8", at === chosen ? 2.5 : 1.5]]) {
        pen.strokeStyle = colour;
        pen.lineWidth = width * one;
        pen.beginPath();
        pen.arc(x, y, r, 0, 2 * Math.PI);
        pen.stroke();
      }
      pen.font = `600 ${13 * one}px sans-serif`;
      pen.textBaseline = "bottom";
      pen.lineJoin = "round";
      pen.setLineDash([]);
      const corner = [x + r * Math.SQRT1_2 + 3 * one, y - r * Math.SQRT1_2 - 1 * one];
      pen.strokeStyle = "#000000d0";
      pen.lineWidth = 3 * one;
      pen.strokeText(String(at + 1), ...corner);
      pen.fillStyle = "#6fd3e8";
      pen.fillText(String(at + 1), ...corner);
      pen.restore();
    });
  }

  /** The mark at a point of the stage, and which part of it; small ones first. */
  function at(point, near) {
    const found = marks.map((mark, place) => {
      const middle = viewer.toStage(mark);
      const r = mark.radius * viewer.scale();
      const away = Math.hypot(point.x - middle.x, point.y - middle.y);
      const inner = Math.max(r - near, r / 2);
      return { place, r, part: away <= inner ? "middle" : away <= r + near ? "rim" : "" };
    }).filter(({ part }) => part);
    return found.sort((one, other) => (other.place === chosen) - (one.place === chosen) || one.r - other.r)[0] ?? null;
  }

  function tell() {
    clearTimeout(timer);
    timer = setTimeout(() => marks[chosen] && say(words(chosen)), 400);
  }

  /** Writes marks into the page. */
  function show() {
    const list = byId("mark-list");
    while (list.children.length > marks.length) list.lastChild.remove();
    while (list.children.length < marks.length) list.append(chip(list.children.length));
    marks.forEach((mark, place) => {
      const button = list.children[place];
      button.textContent = mark.confidence ? `${place + 1}: ${mark.confidence}` : `${place + 1}: ?`;
      button.setAttribute("aria-label", words(place));
      button.setAttribute("aria-pressed", String(place === chosen));
      button.disabled = frozen;
    });
    edit();
    viewer.again();
  }

  function chip(place) {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-describedby", "mark-keys");
    button.addEventListener("click", () => choose(place === chosen ? -1 : place));
    return button;
  }

  function edit() {
    const mark = marks[chosen];
    byId("mark-editor").hidden = !mark || frozen;
    byId("mark-none").hidden = marks.length > 0;
    if (!mark) return;
    byId("mark-sure-text").textContent = `Mark ${chosen + 1}: how suspicious?`;
    for (const input of byId("mark-levels").querySelectorAll("input")) input.checked = Number(input.value) === mark.confidence;
    byId("mark-radius").value = String(mark.radius);
    byId("mark-radius").setAttribute("aria-valuetext", millimetres(mark.radius));
    byId("mark-radius-text").textContent = millimetres(mark.radius);
  }

  function choose(place) {
    chosen = place;
    show();
  }

  function altered() {
    show();
    changed();
  }

  /** Sets a mark at a place of the image, and gives it the focus: its confidence comes next. */
  function add(row, column) {
    if (marks.length >= marking.most) {
      hint(`${marking.most} marks are the most; remove one first.`);
      return;
    }
    const mark = { row, column, radius, confidence: null };
    bound(mark);
    marks.push(mark);
    chosen = marks.length - 1;
    altered();
    byId("mark-list").children[chosen].focus({ preventScroll: true });
    tell();
  }

  function remove() {
    marks.splice(chosen, 1);
    chosen = -1;
    altered();
    say(marks.length ? `Removed. Marks left: ${marks.length}.` : "Removed. No marks.");
    stage.focus({ preventScroll: true });
  }

  function judge(confidence) {
    marks[chosen].confidence = confidence;
    hint("");
    say(words(chosen));
    chosen = -1;
    altered();
    stage.focus({ preventScroll: true });
  }

  function resize(to) {
    marks[chosen].radius = to;
    bound(marks[chosen]);
    radius = marks[chosen].radius;
    altered();
  }

  /** Keys of the mark that has the focus; tells whether the key was one of its own. */
  function press(key, shift) {
    if (arrows[key]) {
      const [down, right] = arrows[key];
      const step = shift ? FAR : STEP;
      marks[chosen].row += down * step;
      marks[chosen].column += right * step;
      bound(marks[chosen]);
      altered();
      tell();
    } else if ("+=".includes(key) || "-_".includes(key)) {
      resize(marks[chosen].radius + ("+=".includes(key) ? STEP : -STEP));
      tell();
    } else if (Number(key) >= 1 && Number(key) <= marking.levels.length) judge(Number(key));
    else if (key === "Delete" || key === "Backspace") remove();
    else if (key === "Escape") {
      choose(-1);
      stage.focus({ preventScroll: true });
    } else return false;
    return true;
  }

  function build() {
    document.body.classList.add("marking");
    byId("marking").hidden = false;
    byId("marking-text").textContent = `Mark each ${marking.finding}`;
    byId("mark-none").textContent = `Click the middle of each ${marking.finding}; none: mark nothing.`;
    marking.levels.forEach((text, place) => {
      const choice = document.createElement("label");
      choice.className = "choice";
      choice.title = text;
      const input = document.createElement("input");
      Object.assign(input, { type: "radio", name: "mark-level", value: String(place + 1) });
      input.setAttribute("aria-label", `${place + 1}, ${text}`);
      const digit = document.createElement("span");
      digit.textContent = String(place + 1);
      choice.append(input, digit);
      byId("mark-levels").append(choice);
      input.addEventListener("click", (event) => event.detail > 0 && judge(place + 1));
      input.addEventListener("change", () => {
        if (!marks[chosen]) return;
        marks[chosen].confidence = place + 1;
        hint("");
        altered();
      });
    });
    byId("mark-least").textContent = marking.levels[0];
    byId("mark-surest").textContent = marking.levels.at(-1);
    const slider = byId("mark-radius");
    Object.assign(slider, { min: marking.least_radius, max: marking.largest_radius / 2, step: 0.25 });
    slider.addEventListener("input", () => resize(Number(slider.value)));
    byId("mark-remove").addEventListener("click", remove);
    byId("mark-list").addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey || frozen) return;
      const place = [...byId("mark-list").children].indexOf(event.target);
      if (place < 0) return;
      const digit = /^(?:Digit|Numpad)([1-9])$/.exec(event.code ?? "");
      const key = digit && !event.shiftKey ? digit[1] : event.key;
      if (place !== chosen && key !== "Enter" && key !== " " && key !== "Tab") choose(place);
      if (marks[chosen] && press(key, event.shiftKey)) {
        event.preventDefault();
        event.stopPropagation();
      }
    });
    byId("mark-editor").addEventListener("keydown", (event) => {
      const digit = Number(/^(?:Digit|Numpad)([1-9])$/.exec(event.code ?? "")?.[1]);
      if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey || !(digit <= marking.levels.length)) return;
      judge(digit);
      event.preventDefault();
      event.stopPropagation();
    });
    stage.addEventListener("pointermove", (event) => {
      if (event.buttons || event.pointerType === "touch") return;
      const under = frozen ? null : at(pointOf(event), NEAR.mouse);
      stage.style.cursor = { rim: "nwse-resize", middle: "move" }[under?.part] ?? "";
    });
    viewer.setOverlay(draw);
  }

  function pointOf(event) {
    const box = stage.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  build();

  return {
    value: () => marks.map((mark) => ({ ...mark })),
    /** Shows what is known of an image. */
    set(known) {
      marks = (known ?? []).map((mark) => ({ ...mark }));
      chosen = -1;
      held = null;
      show();
    },
    /** What is still to be said of a mark, and where; null when all is said. */
    missing() {
      const open = marks.findIndex((mark) => !mark.confidence);
      if (open < 0) return null;
      choose(open);
      const input = byId("mark-list").children[open];
      input.focus({ preventScroll: true });
      return { text: `Please say how suspicious mark ${open + 1} is, or remove it.`, input };
    },
    freeze(yes) {
      frozen = yes;
      if (yes) held = null;
      show();
    },
    /** Sets a mark in the middle of what is seen. */
    add() {
      if (frozen || !viewer.shows()) return false;
      const { row, column } = viewer.toImage({ x: stage.clientWidth / 2, y: stage.clientHeight / 2 });
      add(row, column);
      return true;
    },
    /** Takes a mark into the hand; tells whether there was one. */
    grab(event) {
      const under = frozen || !viewer.shows() ? null : at(pointOf(event), NEAR[event.pointerType] ?? NEAR.mouse);
      if (!under) return false;
      const mark = marks[under.place];
      held = { part: under.part, before: { ...mark }, from: viewer.toImage(pointOf(event)), moved: false, was: chosen };
      chosen = under.place;
      show();
      return true;
    },
    pull(event) {
      const mark = marks[chosen];
      if (!held || !mark) return;
      const now = viewer.toImage(pointOf(event));
      const [down, right] = [now.row - held.from.row, now.column - held.from.column];
      held.moved ||= Math.hypot(down, right) * viewer.scale() > (NEAR[event.pointerType] ?? NEAR.mouse) / 2;
      if (!held.moved) return;
      if (held.part === "middle") Object.assign(mark, { row: held.before.row + down, column: held.before.column + right });
      else {
        const middle = viewer.toStage(mark);
        const point = pointOf(event);
        mark.radius = Math.hypot(point.x - middle.x, point.y - middle.y) / viewer.scale();
      }
      bound(mark);
      show();
    },
    /** Lays the mark down, or back where it was. */
    letGo(back) {
      if (!held) return;
      const { before, moved, part } = held;
      held = null;
      if (back && marks[chosen]) Object.assign(marks[chosen], before);
      if (!back && moved && part === "rim") radius = marks[chosen].radius;
      if (moved && !back) changed();
      show();
    },
    /** The mark that is chosen gets the focus. */
    focus: () => byId("mark-list").children[chosen]?.focus({ preventScroll: true }),
    /** A click or tap on the image, on no mark. */
    tap(event) {
      if (frozen || !viewer.shows()) return;
      const { row, column } = viewer.toImage(pointOf(event));
      const inside = row >= -0.5 && column >= -0.5 && row <= image.rows - 0.5 && column <= image.columns - 0.5;
      if (inside) add(row, column);
      else choose(-1);
    },
  };
}
