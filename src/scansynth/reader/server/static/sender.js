// The sender: locked answers go to the server one by one, in order, until each is confirmed.

import { postLock } from "./api.js";
import { forgetDraft, forgetLock, keepLock, keptLocks } from "./kept.js";

const FIRST_WAIT = 1000;
const LONGEST_WAIT = 15000;
const USELESS = [400, 413, 415, 422]; // the server cannot read the answer

/**
 * @param {object} told
 * @param {(state, record, left) => void} told.confirmed the server has locked the answer
 * @param {(state, record) => void} told.elsewhere the item was answered in another window or on another device
 * @param {(text) => void} told.aside what was left is not this reader's, or was refused, as the text says
 * @param {(error) => void} told.stopped nothing more can be sent: signed out, or closed
 * @param {(left, error|null) => void} told.waiting how many are on their way; the error while the network is cut
 */
export function createSender(told) {
  const queue = keptLocks();
  let busy = false;
  let timer = 0;
  let wait = FIRST_WAIT;

  function done(record) {
    queue.shift();
    forgetLock(record.item);
    forgetDraft(record.item);
    wait = FIRST_WAIT;
  }

  function refused(record, error) {
    if (error.again) {
      told.waiting(queue.length, error);
      timer = setTimeout(run, wait);
      wait = Math.min(wait * 2, LONGEST_WAIT);
      return false;
    }
    if (error.status === 409 && error.body?.phase) {
      done(record);
      told.waiting(queue.length, null);
      told.elsewhere(error.body, record);
      return true;
    }
    if (error.status === 403 || error.status === 404) {
      queue.shift(); // of another reader at this browser: kept for them, not sent for us
      told.waiting(queue.length, null);
      if (!queue.length) told.aside();
      return true;
    }
    if (USELESS.includes(error.status)) {
      queue.shift();
      forgetLock(record.item); // it would be refused for ever; what was chosen stays as a draft
      told.waiting(queue.length, null);
      if (!queue.length) told.aside(error.message);
      return true;
    }
    told.stopped(error);
    return false;
  }

  async function run() {
    clearTimeout(timer);
    if (busy) return;
    busy = true;
    try {
      while (queue.length) {
        const record = queue[0];
        try {
          const state = await postLock(record);
          done(record);
          told.waiting(queue.length, null);
          told.confirmed(state, record, queue.length);
        } catch (error) {
          if (!("again" in error)) throw error; // a mistake of ours, not of the network
          if (!refused(record, error)) return;
        }
      }
    } finally {
      busy = false;
    }
  }

  globalThis.addEventListener("online", run);

  return {
    /** Keeps an answer in the browser first, then sends it. */
    push(record) {
      const kept = { ...record, kept_at: Date.now() };
      keepLock(kept);
      queue.push(kept);
      told.waiting(queue.length, null);
      run();
    },
    run,
    left: () => queue.length,
  };
}
