// What is kept in this browser until the server has it: locked answers, and the answer being given.
// Only item names and answers; they are removed as soon as the server confirms.

const LOCK = "reader-lock-";
const DRAFT = "reader-draft-";
const PAUSED = "reader-paused";
const LONGEST = 60 * 24 * 3600 * 1000; // what nobody asked for in sixty days goes away

const memory = new Map(); // where the browser refuses to store, the page itself remembers

function put(key, value) {
  memory.set(key, JSON.stringify(value));
  try {
    localStorage.setItem(key, memory.get(key));
  } catch {
    // Storage is full or forbidden: the answer lives as long as the page.
  }
}

function get(key) {
  let text = null;
  try {
    text = localStorage.getItem(key);
  } catch {
    // As above.
  }
  try {
    return JSON.parse(text ?? memory.get(key) ?? "null");
  } catch {
    return null;
  }
}

function remove(key) {
  memory.delete(key);
  try {
    localStorage.removeItem(key);
  } catch {
    // As above.
  }
}

function keys(start) {
  const found = new Set(memory.keys());
  try {
    for (let at = 0; at < localStorage.length; at += 1) found.add(localStorage.key(at));
  } catch {
    // As above.
  }
  return [...found].filter((key) => key.startsWith(start));
}

export const keepLock = (record) => put(LOCK + record.item, record);
export const forgetLock = (item) => remove(LOCK + item);
export const keepDraft = (item, draft) => put(DRAFT + item, { ...draft, kept_at: Date.now() });
export const draftOf = (item) => get(DRAFT + item);
export const forgetDraft = (item) => remove(DRAFT + item);
export const keepPaused = (paused) => (paused ? put(PAUSED, true) : remove(PAUSED));
export const wasPaused = () => get(PAUSED) === true;

/** Locked answers that the server has not confirmed, in the order in which they were given. */
export function keptLocks() {
  for (const key of [...keys(LOCK), ...keys(DRAFT)]) {
    const value = get(key);
    if (!value || Date.now() - (value.kept_at ?? 0) > LONGEST) remove(key);
  }
  return keys(LOCK).map(get).filter(Boolean).sort((one, other) => one.kept_at - other.kept_at);
}

const LETTERS = "reader-letters";

/** Whether single keys act; some voice controls and screen readers need them off (WCAG 2.1.4). */
export const letters = () => get(LETTERS) !== false;
export const keepLetters = (on) => put(LETTERS, on);

const SCREEN = "reader-screen"; // for this sitting: another day, the light is another

/** Whether the screen was checked in this sitting. */
export function checkedScreen() {
  try {
    return sessionStorage.getItem(SCREEN) === "yes";
  } catch {
    return memory.has(SCREEN);
  }
}

export function keepScreen() {
  memory.set(SCREEN, "true");
  try {
    sessionStorage.setItem(SCREEN, "yes");
  } catch {
    // As above.
  }
}
