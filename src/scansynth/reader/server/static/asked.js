// The questions between the two parts. Their words come from the server, each when the one before is locked.

import { draftOf, keepDraft } from "./kept.js";
import { nonce } from "./nonce.js";
import { say } from "./status.js";

const byId = (id) => document.getElementById(id);

/** @param {(record: object) => void} lock sends an answer, which is kept until the server has it */
export function createAsked(lock) {
  const form = byId("asked-form");
  let shown = null; // {item, words, share, since}: the question on the screen
  const chosen = () => Number(form.querySelector("input[name=asked]:checked")?.value ?? 0);
  const value = () => ({ answer: chosen() || null, comment: byId("asked-words").value, percent: byId("asked-share").value });

  function set(draft) {
    for (const input of form.querySelectorAll("input[name=asked]")) input.checked = draft?.answer === Number(input.value);
    byId("asked-words").value = draft?.comment ?? "";
    byId("asked-share").value = draft?.percent ?? "";
  }

  function freeze(frozen) {
    for (const one of form.elements) one.disabled = frozen;
  }

  function missing() {
    if (!chosen()) return ["Please answer yes or no.", form.querySelector("input[name=asked]")];
    if (shown.share && byId("asked-share").value.trim() === "") return ["Please give a number, even if you have to guess.", byId("asked-share")];
    if (shown.share && !/^(100|[0-9]{1,2})$/.test(byId("asked-share").value.trim())) return ["Please give a whole number from 0 to 100.", byId("asked-share")];
    return null;
  }

  form.addEventListener("input", () => shown && keepDraft(shown.item, value()));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!shown) return;
    const gap = missing();
    byId("asked-hint").textContent = gap?.[0] ?? "";
    if (gap) return gap[1].focus();
    const said = value();
    const record = {
      item: shown.item, answer: said.answer, second: null, confidence: null, comment: shown.words ? said.comment : "",
      percent: shown.share ? Number(said.percent) : null, seconds: (performance.now() - shown.since) / 1000,
      hidden_seconds: 0, window_changes: 0, zoomed: false, nonce: nonce(),
    };
    shown = null;
    freeze(true);
    return lock(record);
  });

  return {
    /** Shows the question of the server's state in the place of the images. */
    offer({ item, asked }) {
      if (shown?.item === item.id) return;
      shown = { item: item.id, words: asked.words, share: asked.share, since: performance.now() };
      byId("worklist").hidden = true;
      byId("screen").hidden = true;
      byId("asked").hidden = false;
      byId("asked-text").textContent = asked.text;
      byId("asked-words-box").hidden = !asked.words;
      byId("asked-words-label").textContent = asked.words ?? "";
      byId("asked-share-box").hidden = !asked.share;
      byId("asked-share-label").textContent = asked.share ?? "";
      byId("asked-hint").textContent = "";
      freeze(false);
      set(draftOf(item.id));
      byId("asked-title").focus();
      say(`${byId("asked-title").textContent} ${asked.text}`);
    },
    /** While an answer is on its way. */
    waiting(cut) {
      if (!shown) byId("asked-hint").textContent = cut ? "No connection. Your answer is kept in this browser and will be sent when it is back." : "";
    },
  };
}

/** Tells what the study compares, before the part that is about it; resolves when the reader goes on. */
export function reveal() {
  const place = byId("reveal");
  place.hidden = false;
  byId("reveal-title").focus();
  return new Promise((resolve) => {
    byId("reveal-on").addEventListener("click", () => {
      place.hidden = true;
      resolve();
    });
  });
}
