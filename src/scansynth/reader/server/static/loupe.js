// The magnifier: a round glass that follows the pointer over the image.

const FACTOR = 2.5;
const byId = (id) => document.getElementById(id);

export function createLoupe(stage, viewer) {
  const glass = byId("loupe");
  const pen = glass.getContext("2d", { alpha: false });
  let at = null; // the point under it, in CSS pixels of the stage
  let lifted = 0; // a finger would hide what it shows

  function draw() {
    if (glass.hidden) return;
    at ??= { x: stage.clientWidth / 2, y: stage.clientHeight / 2 };
    const ratio = globalThis.devicePixelRatio || 1;
    const size = Math.round(glass.clientWidth * ratio);
    if (glass.width !== size) [glass.width, glass.height] = [size, size];
    glass.style.left = `${at.x - glass.offsetWidth / 2}px`;
    glass.style.top = `${at.y - glass.offsetHeight / 2 - lifted}px`;
    viewer.enlarge(pen, at, FACTOR);
  }

  stage.addEventListener("pointermove", (event) => {
    const box = stage.getBoundingClientRect();
    at = { x: event.clientX - box.left, y: event.clientY - box.top };
    lifted = event.pointerType === "touch" ? glass.offsetHeight * 0.7 : 0;
    draw();
  });

  return {
    draw,
    /** @returns {boolean} whether it is there now */
    toggle() {
      glass.hidden = !glass.hidden;
      draw();
      return !glass.hidden;
    },
  };
}
