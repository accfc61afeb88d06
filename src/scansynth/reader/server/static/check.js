// The check of the screen, once in each sitting, before the first image: can dark and bright steps be told apart?

import { postScreen } from "./api.js";
import { checkedScreen, keepScreen } from "./kept.js";

const byId = (id) => document.getElementById(id);

/** Shows the test picture until the reader goes on; resolves at once when it was shown in this sitting. */
export function checkScreen() {
  if (checkedScreen()) return Promise.resolve();
  const place = byId("check");
  place.hidden = false;
  byId("check-yes").focus();
  return new Promise((resolve) => {
    let seen = true;
    byId("check-no").addEventListener("click", () => {
      seen = false;
      byId("check-advice").hidden = false;
      byId("check-no").hidden = true;
      byId("check-yes").textContent = "Continue";
      byId("check-yes").focus();
    });
    byId("check-yes").addEventListener("click", () => {
      place.hidden = true;
      keepScreen();
      postScreen(seen).catch(() => {}); // a note beside the readings
      resolve();
    });
  });
}
