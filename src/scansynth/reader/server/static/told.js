// What is spoken of only once the reader was told what the study compares: practice, its truth, and what stands beside.
// The server keeps this file, and those it loads, from everybody else.

import { say } from "./status.js";

export { createBeside } from "./beside.js";
export { createReview, showTruth as show } from "./review.js";

const byId = (id) => document.getElementById(id);

/** After a practice case: what it was, what the reader said, and what stands beside it. */
export function feedback(told, label) {
  byId("feedback-title").textContent = told.truth === "synthetic" ? "This image was synthetic." : "This image was real.";
  byId("feedback-text").textContent = `You answered: ${label}.`;
  const shown = [
    told.nearest ? "Beside it stands the most similar real scan of another patient. Compare edges, vessels, noise and texture." : "",
    told.mask ? "The line marks the finding." : "",
  ];
  byId("feedback-why").textContent = shown.filter(Boolean).join(" ");
  byId("feedback-why").hidden = !byId("feedback-why").textContent;
  say(`${byId("feedback-title").textContent} ${byId("feedback-text").textContent} ${byId("feedback-why").textContent}`);
}
