// The keyboard: which key does what, and the list of keys.

import { keepLetters, letters } from "./kept.js";

const byId = (id) => document.getElementById(id);
const OWN_ENTER = "a, button, select, summary, input";
const OWN_ARROWS = "input, select, dialog";
const OWN_LETTERS = "select, input[type=text]";

/** The digit of a key, on any keyboard: number pads, and rows where digits need Shift. */
function plain(event) {
  const digit = /^(?:Digit|Numpad)([1-9])$/.exec(event.code ?? "");
  return digit && !event.shiftKey ? digit[1] : event.key;
}

/**
 * @param {object} acts `answer(key)` and `image(key, shift)` tell whether the key was theirs; `enter()`, `pause()`, `undo()`,
 *   `comment()`, `mark()`, `leave()` a field of text
 */
export function attachKeys(acts) {
  const dialog = byId("keys");
  const box = byId("letters");
  box.checked = letters();
  box.addEventListener("change", () => keepLetters(box.checked));
  byId("help").addEventListener("click", () => dialog.showModal());
  byId("keys-close").addEventListener("click", () => dialog.close());

  function act(event) {
    const key = plain(event);
    const inside = (selector) => event.target instanceof Element && event.target.closest(selector);
    if (key === "Enter") {
      if (event.repeat) return true; // a key held down locks one image, not many
      if (inside(OWN_ENTER)) return false; // the button in focus is pressed, or the form is sent, by the browser
      acts.enter();
      return true;
    }
    if (key.startsWith("Arrow")) return !inside(OWN_ARROWS) && acts.image(key, event.shiftKey);
    if (key === "Escape" && inside("input[type=text]")) {
      acts.leave();
      return true;
    }
    if (!letters() || inside(OWN_LETTERS)) return false;
    if (key === "?") {
      dialog.showModal();
      return true;
    }
    if (event.repeat && !"+-=_".includes(key)) return false;
    if (key.toLowerCase() === "p") {
      acts.pause();
      return true;
    }
    if (key.toLowerCase() === "u") return acts.undo();
    if (key.toLowerCase() === "t") return acts.comment();
    if (key.toLowerCase() === "k") return acts.mark();
    return acts.answer(key) || acts.image(key, event.shiftKey);
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    if (document.querySelector("dialog[open], #asked:not([hidden])")) return;
    document.body.classList.add("keyboard"); // whoever presses a key has one
    if (act(event)) event.preventDefault();
  });
}

/** Writes the study's own answers into the list of keys. */
export function listKeys(pairs) {
  const list = byId("answer-keys");
  list.replaceChildren();
  for (const [key, label] of [...pairs, ["Enter", "lock the answer"], ["U", "change the last answer, once"], ["T", "comment"], ["P", "pause"]]) {
    const term = document.createElement("dt");
    const cap = document.createElement("kbd");
    cap.textContent = key;
    term.append(cap);
    const meaning = document.createElement("dd");
    meaning.textContent = label;
    list.append(term, meaning);
  }
}
