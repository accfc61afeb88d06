// The image beside: a real scan to compare with, in the same window, at the same zoom and place.

import { getPixels } from "./api.js";
import { createViewer } from "./viewer.js";

const byId = (id) => document.getElementById(id);

/**
 * @param {object} main the viewer of the image that is read
 * @param {object} image as the server's state has it
 * @param {number} references how many real scans of other patients the study offers; 0: none
 */
export function createBeside(main, image, references) {
  const viewer = createViewer(byId("beside-stage"), byId("beside-canvas"), () => {});
  const held = new Map();
  let wanted = 0;
  let at = 0;
  let on = false; // the reader wants the references beside each image

  viewer.configure(image, []);
  byId("beside-toggle").hidden = !references;

  function hide() {
    wanted += 1;
    byId("beside").hidden = true;
    byId("stages").classList.remove("two");
  }

  async function show(path, text, pages) {
    wanted += 1;
    const mine = wanted;
    byId("beside").hidden = false;
    byId("stages").classList.add("two");
    byId("beside-text").textContent = text;
    byId("beside-canvas").setAttribute("aria-label", text);
    byId("beside-pages").hidden = !pages;
    viewer.clear();
    try {
      if (!held.has(path)) held.set(path, await getPixels(path, image.rows * image.columns));
      if (mine !== wanted) return;
      viewer.show(held.get(path));
      viewer.follow(main.view);
    } catch {
      if (mine === wanted) byId("beside-text").textContent = "The image beside could not be loaded.";
    }
  }

  function reference() {
    show(`/api/reference/${at}`, `Real scan ${at + 1} of ${references}, of another patient`, references > 1);
  }

  function turn(step) {
    at = (at + step + references) % references;
    reference();
  }

  function toggle() {
    if (!references) return false;
    on = !on;
    byId("beside-toggle").setAttribute("aria-pressed", String(on));
    on ? reference() : hide();
    return true;
  }

  byId("beside-toggle").addEventListener("click", toggle);
  byId("beside-before").addEventListener("click", () => turn(-1));
  byId("beside-after").addEventListener("click", () => turn(1));

  return {
    toggle,
    hide,
    follow: (view) => viewer.follow(view),
    /** What stands beside an image that is read: a reference, if the reader wants one. */
    usual: () => (on ? reference() : hide()),
    /** After the truth was told: the most similar real scan. */
    nearest: (item) => show(`/api/nearest/${item}`, "The most similar real scan of another patient", false),
  };
}
