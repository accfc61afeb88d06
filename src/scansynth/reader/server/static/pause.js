// Pauses: the image is hidden, the clock stands still, and the server knows how long.

import { postLogout, postPause } from "./api.js";
import { keepPaused, wasPaused } from "./kept.js";

const byId = (id) => document.getElementById(id);

/**
 * @param {object} stopwatch
 * @param {() => void} back called when reading goes on
 * @param {() => void} leave called when the reader stops for today
 */
export function createPause(stopwatch, back, leave) {
  const dialog = byId("paused");
  let since = 0;
  let leaving = false;

  function begin() {
    if (dialog.open) return;
    stopwatch.stop();
    since = performance.now();
    keepPaused(true);
    document.body.classList.add("hidden-image");
    dialog.showModal();
    postPause(true, 0).catch(() => {}); // a note beside the readings: worth no interruption when the network is cut
  }

  /** Tells the server how long the pause was. */
  function told() {
    return postPause(false, Math.round((performance.now() - since) / 100) / 10).catch(() => {});
  }

  dialog.addEventListener("close", () => {
    document.body.classList.remove("hidden-image");
    keepPaused(false);
    if (leaving) return;
    told();
    stopwatch.goOn();
    back();
  });
  byId("go-on").addEventListener("click", () => dialog.close());
  byId("leave").addEventListener("click", async () => {
    leaving = true;
    await told();
    await postLogout().catch(() => {});
    leave();
  });
  byId("pause").addEventListener("click", begin);

  return {
    begin,
    /** After a reload in a pause, the pause goes on. */
    restore: () => wasPaused() && begin(),
    open: () => dialog.open,
  };
}
