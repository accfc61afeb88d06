// Buffers: the image that is shown and the one after it, fetched ahead.

import { getBuffer } from "./api.js";

export function createBuffers() {
  const held = new Map(); // item -> {promise, pixels|null}
  let length = 0;

  return {
    configure(image) {
      length = image.rows * image.columns;
    },
    /** Stored values of an item; fetched now unless they are here or under way. */
    want(item) {
      if (!held.has(item)) {
        const entry = { promise: null, pixels: null };
        entry.promise = getBuffer(item, length).then((pixels) => (entry.pixels = pixels));
        entry.promise.catch(() => held.delete(item)); // the next one who wants it tries again
        held.set(item, entry);
      }
      return held.get(item).promise;
    },
    /** The values when they are here already, else null. */
    ready: (item) => held.get(item)?.pixels ?? null,
    /** Lets go of everything but these. */
    keepOnly(...items) {
      for (const item of held.keys()) if (!items.includes(item)) held.delete(item);
    },
  };
}
