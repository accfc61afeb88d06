// Rests: after every so many images a break is proposed, never forced.

const byId = (id) => document.getElementById(id);

/** @param {() => void} pause begins a break */
export function createRest(pause, back) {
  const box = byId("rest");
  const hide = () => {
    box.hidden = true;
  };
  byId("rest-pause").addEventListener("click", () => {
    hide();
    pause();
  });
  byId("rest-on").addEventListener("click", () => {
    hide();
    back();
  });

  return {
    hide,
    /** @returns {string} what was proposed, or nothing */
    propose(done, every) {
      box.hidden = !(every > 0 && done > 0 && done % every === 0);
      if (box.hidden) return "";
      byId("rest-text").textContent = `You have read ${done} images. A short break is recommended.`;
      return byId("rest-text").textContent;
    },
  };
}
