// Windows: from stored 16-bit values, over source values, to grey levels.

export const LEVELS = 65536;

/** Source value of a stored value v: low + v / 65535 * (high - low). */
export function sourceValue(image, stored) {
  return image.low + (stored / (LEVELS - 1)) * (image.high - image.low);
}

/** The window that shows everything there can be. */
export function fullWindow(image) {
  return { center: (image.low + image.high) / 2, width: image.high - image.low };
}

/**
 * Fills a table of 65,536 opaque pixels, one for each stored value.
 * DICOM PS3.3 C.11.2.1.3.2 (LINEAR_EXACT): grey = ((x - center) / width + 0.5) * 255, cut to 0..255.
 * The clamped array rounds and cuts by itself. Red, green and blue are equal, so only the place of alpha hangs on the
 * machine's byte order; every machine that runs a browser today is little-endian, as the buffers are.
 */
export function fillTable(table, image, window, inverted) {
  const greys = new Uint8ClampedArray(LEVELS);
  const slope = (255 * (image.high - image.low)) / (LEVELS - 1) / window.width;
  const start = 255 * ((image.low - window.center) / window.width + 0.5);
  for (let stored = 0; stored < LEVELS; stored += 1) greys[stored] = start + slope * stored;
  const flip = inverted ? 255 : 0;
  for (let stored = 0; stored < LEVELS; stored += 1) {
    table[stored] = (0xff000000 | ((greys[stored] ^ flip) * 0x010101)) >>> 0;
  }
  return table;
}

/** A window that stays within what can be told apart: at least a thousandth of the range, center within the range. */
export function boundWindow(image, { center, width }) {
  const range = image.high - image.low;
  return {
    center: Math.min(Math.max(center, image.low), image.high),
    width: Math.min(Math.max(width, range / 1000), range * 2),
  };
}

/** A number with as many digits as the range of the image deserves. */
export function readable(image, value) {
  const range = image.high - image.low;
  const digits = range >= 100 ? 0 : range >= 10 ? 1 : 3;
  return (Math.round(value * 10 ** digits) / 10 ** digits).toFixed(digits).replace(/^-(0(\.0+)?)$/, "$1");
}

/** The window in words, in the unit of the source. */
export function windowText(image, window) {
  const unit = image.unit ? ` ${image.unit}` : "";
  return `Level ${readable(image, window.center)}, width ${readable(image, window.width)}${unit}`;
}
