// The end of the practice: how many were recognised, and a second look at each image with its truth.

import { getPixels } from "./api.js";
import { say } from "./status.js";

const byId = (id) => document.getElementById(id);
const right = (one) => (one.truth === "synthetic") === (one.answer > 3);

/** How many of each kind were recognised, in words. */
export function scoreText(review) {
  const shares = ["real", "synthetic"].map((kind) => [kind, review.filter((one) => one.truth === kind)])
    .filter(([, own]) => own.length)
    .map(([kind, own]) => `${own.filter(right).length} of ${own.length} ${kind}`);
  return `You recognised ${review.filter(right).length} of ${review.length}: ${shares.join(", ")}.`;
}

/** Shows the truth of an image that was answered: the real scan nearest to it, and its mask, where the server has them. */
export async function showTruth(told, item, image, viewer, beside) {
  if (told.nearest) beside.nearest(item);
  if (!told.mask) return;
  const mask = await getPixels(`/api/mask/${item}`, image.rows * image.columns).catch(() => null);
  if (mask) viewer.setMask(mask);
}

/**
 * @param {object} parts `buffers`, `viewer`, `beside`, and `cover(text)`
 * @param {(answer: number) => string} label of an answer
 */
export function createReview({ buffers, viewer, beside, cover }, label) {
  let state = null;
  let at = -1; // the image that is looked at again; -1: none

  async function look(step) {
    at = (at + step + state.review.length) % state.review.length;
    const mine = at;
    const one = state.review[at];
    byId("review").hidden = false;
    byId("summary-look").hidden = true;
    byId("review-text").textContent = `Image ${at + 1} of ${state.review.length}: ${one.truth}. You answered: ${label(one.answer)}.`;
    say(byId("review-text").textContent);
    const pixels = await buffers.want(one.id).catch(() => null);
    if (mine !== at || byId("summary").hidden) return;
    if (!pixels) return cover("The image could not be loaded.");
    cover("");
    viewer.show(pixels);
    beside.usual();
    return showTruth(one, one.id, state.image, viewer, beside);
  }

  byId("summary-look").addEventListener("click", () => look(1));
  byId("review-before").addEventListener("click", () => look(-1));
  byId("review-after").addEventListener("click", () => look(1));

  return {
    /** Tells how the practice went; goes on by `summary-next`. */
    offer(newState) {
      state = newState;
      at = -1;
      byId("summary").hidden = false;
      byId("review").hidden = true;
      byId("summary-look").hidden = false;
      byId("summary-title").textContent = state.teaching ? "You have seen every image" : "Practice is over";
      byId("summary-text").textContent = state.teaching ? scoreText(state.review)
        : `${scoreText(state.review)} The next image is the first of ${state.total} that count. You will not be told what they were.`;
      byId("summary-next").firstChild.textContent = state.teaching ? "Finish " : "Begin the study ";
      say(`${byId("summary-title").textContent}. ${byId("summary-text").textContent}`);
      byId("summary-next").focus();
    },
    hide() {
      byId("summary").hidden = true;
    },
  };
}
