// The tools below the image: buttons and texts, bound to the viewer.

import { fullWindow, windowText } from "./window.js";

const STEP = 1.25; // one press of + or -
const TURN = 0.1; // one press of an arrow, as a share of the window's width
const SHIFT = 40; // one press of Shift and an arrow, CSS pixels

const byId = (id) => document.getElementById(id);

/**
 * @param {() => boolean} others.magnify shows or hides the magnifier
 * @param {() => boolean} others.beside shows or hides the references; false: there are none
 * @param {(text: string) => void} say tells a screen reader, a moment after the last change by keyboard
 */
export function createTools(say, others) {
  let viewer = null;
  let presets = [];
  let timer = 0;
  let moves = false;

  function tellWindow() {
    clearTimeout(timer);
    timer = setTimeout(() => say(windowText(viewer.image(), viewer.view)), 500);
  }

  function matching(view) {
    const close = (one, other) => Math.abs(one - other) < 1e-6 * Math.max(1, Math.abs(other));
    return presets.findIndex((preset) => close(view.center, preset.center) && close(view.width, preset.width));
  }

  /** Writes the view into the page. */
  function changed(view) {
    if (!viewer?.image()) return;
    const text = windowText(viewer.image(), view);
    byId("window-text").textContent = text;
    byId("zoom-text").textContent = `${Math.round(view.zoom * 100)}%`;
    byId("preset").value = String(matching(view));
    byId("invert").setAttribute("aria-pressed", String(view.inverted));
    byId("stages").classList.toggle("inverted", view.inverted);
    byId("fit").setAttribute("aria-pressed", String(view.zoom === 1));
    byId("one").setAttribute("aria-pressed", String(viewer.isOneToOne()));
    byId("smooth").setAttribute("aria-pressed", String(view.smooth));
  }

  function choosePreset(at) {
    viewer.setWindow(presets[at]);
    viewer.count();
  }

  function nextPreset() {
    choosePreset((matching(viewer.view) + 1) % presets.length);
    say(`${presets[matching(viewer.view)]?.name ?? "Window"}. ${windowText(viewer.image(), viewer.view)}`);
  }

  function turn(right, up) {
    const { center, width } = viewer.view;
    viewer.turnWindow({ center, width }, right * TURN, up * TURN);
    viewer.count();
    tellWindow();
  }

  const acts = {
    i: () => { viewer.invert(); viewer.count(); say(viewer.view.inverted ? "Inverted" : "Not inverted"); },
    r: () => { viewer.reset(); say("Image reset"); },
    s: () => { viewer.smoothen(); say(viewer.view.smooth ? "Smooth" : "Each pixel as it is"); },
    f: () => { viewer.zoomTo(false); say("Whole image"); },
    o: () => { viewer.zoomTo(true); say("One to one"); },
    g: () => {
      const there = others.magnify();
      byId("magnify").setAttribute("aria-pressed", String(there));
      say(there ? "Magnifier" : "No magnifier");
    },
    b: () => others.beside(),
    w: nextPreset,
    m: () => {
      moves = !moves;
      byId("drag-mode").setAttribute("aria-pressed", String(moves));
      byId("stage").classList.toggle("moving", moves);
      say(moves ? "Drag moves the image" : "Drag changes the window");
    },
    "+": () => viewer.zoomBy(STEP),
    "=": () => viewer.zoomBy(STEP),
    "-": () => viewer.zoomBy(1 / STEP),
    _: () => viewer.zoomBy(1 / STEP),
  };
  const arrows = { ArrowUp: [0, 1], ArrowDown: [0, -1], ArrowRight: [1, 0], ArrowLeft: [-1, 0] };

  return {
    changed,
    bind(newViewer, image, newPresets) {
      viewer = newViewer;
      const full = { name: "Full range", ...fullWindow(image) };
      presets = [...newPresets];
      if (matching(full) < 0) presets.push(full);
      const names = [...presets.map((preset) => preset.name), "Own window"];
      byId("preset").replaceChildren(...names.map((name, at) => {
        const own = at === presets.length;
        const option = new Option(name, own ? "-1" : String(at));
        option.hidden = own; // named when the reader has turned the window, never chosen
        return option;
      }));
      byId("preset").addEventListener("change", (event) => choosePreset(Number(event.target.value)));
      const buttons = { "drag-mode": "m", "zoom-out": "-", "zoom-in": "+", fit: "f", one: "o", magnify: "g", smooth: "s", invert: "i", reset: "r" };
      for (const [id, key] of Object.entries(buttons)) byId(id).addEventListener("click", acts[key]);
    },
    moving: () => moves,
    /** Acts on a key; tells whether it was one of ours. */
    press(key, shift) {
      if (arrows[key]) {
        const [x, y] = arrows[key];
        if (shift) viewer.moveBy(x * SHIFT, -y * SHIFT);
        else turn(x, y);
        return true;
      }
      const act = acts[key.toLowerCase()];
      act?.();
      return Boolean(act);
    },
  };
}
