// Drafts: the answer being given is kept in this browser at once, and on the server a moment later.

import { putDraft } from "./api.js";
import { draftOf, keepDraft } from "./kept.js";

const PAUSE = 400; // milliseconds without a change until it is sent
const AGAIN = 5000; // milliseconds until it is sent again

/**
 * @param {(item: string) => object} measures time and window changes of the item on the screen
 * @param {() => void} saved called when the server took one
 * @param {(error: ApiError) => void} failed called when the server did not take a draft
 */
export function createDrafts(measures, saved, failed) {
  let timer = 0;

  async function send(item, value) {
    try {
      await putDraft(item, value);
      saved();
      const kept = draftOf(item);
      if (kept) keepDraft(item, { ...kept, unsaved: false });
    } catch (error) {
      if (error.again && draftOf(item)?.unsaved) timer = setTimeout(() => send(item, value), AGAIN);
      failed(error);
    }
  }

  return {
    changed(item, value) {
      keepDraft(item, { ...value, ...measures(), unsaved: true });
      clearTimeout(timer);
      timer = setTimeout(() => send(item, value), PAUSE);
    },
    /** Keeps what was measured so far, for a reload. */
    keepMeasures(item, value) {
      keepDraft(item, { ...(draftOf(item) ?? {}), ...value, ...measures() });
    },
    /** What this browser or the server knows of the item; the browser's word counts where the server lacks it. */
    of(item, state) {
      const kept = draftOf(item);
      const known = state.item?.id === item ? state.draft : null;
      return kept?.unsaved || !known ? kept : { ...kept, ...known };
    },
    cancel() {
      clearTimeout(timer);
    },
  };
}
