// The stopwatch: how long an image has been open, pauses left out, and how much of it the page was out of sight.
// It runs on the browser's own steady clock, which a change of the wall clock does not touch.

const LONGEST = 7 * 86400; // seconds that are told of one image at most: the server takes no time without end
const told = (seconds) => Math.round(Math.min(seconds, LONGEST) * 1000) / 1000;

export function createStopwatch() {
  let seconds = 0;
  let hidden = 0;
  let since = null; // moment from which time has not been added yet; null: stopped

  function settle(wasHidden = document.hidden) {
    if (since === null) return;
    const now = performance.now();
    seconds += (now - since) / 1000;
    if (wasHidden) hidden += (now - since) / 1000;
    since = now;
  }

  document.addEventListener("visibilitychange", () => settle(!document.hidden));

  return {
    /** Begins an image, or goes on with one from what was kept of it. */
    begin(kept) {
      seconds = kept?.seconds ?? 0;
      hidden = kept?.hidden_seconds ?? 0;
      since = performance.now();
    },
    stop() {
      settle();
      since = null;
    },
    goOn() {
      since ??= performance.now();
    },
    /** Seconds so far, and how many of them the page was out of sight, to a thousandth; a week at most. */
    read() {
      settle();
      return { seconds: told(seconds), hidden_seconds: told(hidden) };
    },
  };
}
