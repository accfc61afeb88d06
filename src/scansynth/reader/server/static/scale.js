// The scale bar: a round number of millimetres, at most a quarter of the image's stage.

const LENGTHS = [1, 2, 5, 10, 20, 50, 100, 200];
const byId = (id) => document.getElementById(id);

/** @returns {{mm: number, pixels: number}|null} the longest bar that fits, in CSS pixels; null: the spacing is not known */
export function barOf(spacing, scale, most) {
  if (!(spacing > 0) || !(scale > 0)) return null;
  const pixels = (mm) => (mm / spacing) * scale;
  const mm = LENGTHS.findLast((length) => pixels(length) <= most);
  return mm ? { mm, pixels: pixels(mm) } : null;
}

/** All images have the spacing of the study, never one of their own. */
export function tellScale(stage, viewer) {
  const place = byId("scale-bar");
  const image = viewer.image();
  const bar = viewer.shows() ? barOf(image.spacing[1], viewer.scale(), stage.clientWidth / 4) : null;
  place.hidden = !bar;
  if (!bar) return;
  place.style.width = `${bar.pixels}px`;
  byId("scale-text").textContent = `about ${bar.mm} mm`;
}
