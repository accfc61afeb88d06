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

/** How many marks lie within the outline of a finding, in words; nothing where none was set. */
function insideText(marks, mask, image) {
  if (!marks?.length) return "";
  const index = (mark) => Math.min(Math.round(mark.row), image.rows - 1) * image.columns + Math.min(Math.round(mark.column), image.columns - 1);
  const inside = marks.filter((mark) => mask[Math.max(index(mark), 0)] > 0).length;
  return ` ${inside} of your ${marks.length} mark${marks.length > 1 ? "s lie" : " lies"} within the outline.`;
}

/**
 * Shows the truth of an image that was answered: the real scan nearest to it, and its mask, where the server has them.
 * @returns {Promise<string>} what is to be said of the marks that were set
 */
export async function showTruth(told, item, image, viewer, beside, marks) {
  if (told.nearest) beside.nearest(item);
  if (!told.mask) return "";
  const mask = await getPixels(`/api/mask/${item}`, image.rows * image.columns).catch(() => null);
  if (!mask) return "";
  viewer.setMask(mask);
  return insideText(marks, mask, image);
}

/**
 * @param {object} parts `buffers`, `viewer`, `beside`, `cover(text)`, and `marks`, where findings are marked
 * @param {(answer: number) => string} label of an answer
 */
export function createReview({ buffers, viewer, beside, cover, marks }, label) {
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
    marks?.set(one.marks);
    beside.usual();
    const more = await showTruth(one, one.id, state.image, viewer, beside, one.marks);
    if (mine === at) byId("review-text").textContent += more;
    return undefined;
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
