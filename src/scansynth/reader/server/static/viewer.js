// The viewer: one image on a canvas, with its window, zoom and place.

import { LEVELS, boundWindow, fillTable, fullWindow } from "./window.js";

const MOST_ZOOM = 16;
const EDGE = 0xff5ca4c9; // amber, as the machine's byte order has it

/** A canvas with the pixels of a mask that have a neighbour outside of it. */
function edgeOf(values, { rows, columns }) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [columns, rows];
  const pen = canvas.getContext("2d");
  const raster = pen.createImageData(columns, rows);
  const raster32 = new Uint32Array(raster.data.buffer);
  const inside = (row, column) => row >= 0 && column >= 0 && row < rows && column < columns && values[row * columns + column] > 0;
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      const here = inside(row, column) && !(inside(row - 1, column) && inside(row + 1, column)
        && inside(row, column - 1) && inside(row, column + 1));
      if (here) raster32[row * columns + column] = EDGE;
    }
  }
  pen.putImageData(raster, 0, 0);
  return canvas;
}

/**
 * @param {HTMLElement} stage what the canvas fills
 * @param {HTMLCanvasElement} canvas
 * @param {(view: object) => void} changed called after each change of the view
 */
export function createViewer(stage, canvas, changed) {
  const pen = canvas.getContext("2d", { alpha: false });
  const native = document.createElement("canvas"); // the image, one canvas pixel for each of its own
  const nativePen = native.getContext("2d", { alpha: false });
  const table = new Uint32Array(LEVELS);
  let image = null;
  let first = null; // window at the beginning
  let pixels = null; // Uint16Array
  let raster = null; // ImageData of the native canvas, and the same memory as 32-bit pixels
  let raster32 = null;
  let stale = true; // the native canvas does not yet show the window
  let asked = 0; // pending animation frame
  let outline = null; // canvas with the edge of a mask
  let overlay = null; // draws over the image
  let counts = { window_changes: 0, zoomed: false };
  const view = { center: 0, width: 1, inverted: false, smooth: true, zoom: 1, x: 0, y: 0 };

  function configure(newImage, presets) {
    image = newImage;
    first = boundWindow(image, presets[0] ?? fullWindow(image));
    native.width = image.columns;
    native.height = image.rows;
    raster = nativePen.createImageData(image.columns, image.rows);
    raster32 = new Uint32Array(raster.data.buffer);
    Object.assign(view, first);
  }

  /** Size of the image on the stage at zoom 1, in CSS pixels. Rows are as far apart as the spacing says. */
  function fitted() {
    const tall = image.rows * (image.spacing[0] / image.spacing[1] || 1);
    const scale = Math.min(stage.clientWidth / image.columns, stage.clientHeight / tall);
    return { width: image.columns * scale, height: tall * scale };
  }

  function window16() {
    fillTable(table, image, view, view.inverted);
    for (let at = 0; at < pixels.length; at += 1) raster32[at] = table[pixels[at]];
    nativePen.putImageData(raster, 0, 0);
    stale = false;
  }

  function draw() {
    if (asked) cancelAnimationFrame(asked);
    asked = 0;
    const ratio = globalThis.devicePixelRatio || 1;
    const [across, down] = [Math.round(stage.clientWidth * ratio), Math.round(stage.clientHeight * ratio)];
    if (canvas.width !== across) canvas.width = across;
    if (canvas.height !== down) canvas.height = down;
    pen.fillStyle = "#000";
    pen.fillRect(0, 0, across, down);
    if (!pixels) return;
    if (stale) window16();
    put(pen, frame(), ratio);
  }

  /** Where the image lies on the canvas, in pixels of the screen. */
  function frame() {
    const ratio = globalThis.devicePixelRatio || 1;
    const [across, down] = [Math.round(stage.clientWidth * ratio), Math.round(stage.clientHeight * ratio)];
    const size = fitted();
    const [width, height] = [size.width * view.zoom * ratio, size.height * view.zoom * ratio];
    const [left, top] = [Math.round((across - width) / 2 + view.x * ratio), Math.round((down - height) / 2 + view.y * ratio)];
    return { left, top, width: Math.round(width), height: Math.round(height) };
  }

  function put(on, { left, top, width, height }, ratio) {
    on.imageSmoothingEnabled = view.smooth;
    on.imageSmoothingQuality = "high";
    on.drawImage(native, left, top, width, height);
    if (outline) {
      on.imageSmoothingEnabled = false;
      on.drawImage(outline, left, top, width, height);
    }
    overlay?.(on, { left, top, width, height }, ratio);
  }

  /** Zoom at which a pixel of the image is a pixel of the screen. */
  function native1() {
    return image.columns / (fitted().width * (globalThis.devicePixelRatio || 1));
  }

  function later() {
    if (!asked) asked = requestAnimationFrame(draw);
    changed(view);
  }

  function bound() {
    const size = fitted();
    const [wide, high] = [stage.clientWidth, stage.clientHeight];
    // A quarter of the stage is left over beyond each edge, so that corners can come to the middle.
    const most = [(Math.abs(size.width * view.zoom - wide) + wide / 2) / 2,
      (Math.abs(size.height * view.zoom - high) + high / 2) / 2];
    view.x = Math.min(Math.max(view.x, -most[0]), most[0]);
    view.y = Math.min(Math.max(view.y, -most[1]), most[1]);
  }

  function setWindow(window) {
    Object.assign(view, boundWindow(image, window));
    stale = true;
    later();
  }

  function reset() {
    Object.assign(view, first, { inverted: false, zoom: 1, x: 0, y: 0 });
    stale = true;
    later();
  }

  /** Zooms about a point given in CSS pixels from the middle of the stage. */
  function zoomBy(factor, x = 0, y = 0) {
    const zoom = Math.min(Math.max(view.zoom * factor, Math.min(1, native1())), Math.max(MOST_ZOOM, native1()));
    const ratio = zoom / view.zoom;
    view.x = x - (x - view.x) * ratio;
    view.y = y - (y - view.y) * ratio;
    view.zoom = zoom;
    if (zoom <= 1) view.x = view.y = 0;
    if (zoom > 1) counts.zoomed = true;
    bound();
    later();
  }

  new ResizeObserver(() => (pixels ? later() : draw())).observe(stage);

  return {
    configure,
    draw,
    reset,
    setWindow,
    zoomBy,
    view,
    /** Shows new pixels at once, in the first window, fitted; smoothing stays as the reader set it. */
    show(newPixels, counted) {
      pixels = newPixels;
      outline = null;
      counts = { window_changes: counted?.window_changes ?? 0, zoomed: counted?.zoomed ?? false };
      reset();
      draw();
    },
    clear() {
      pixels = null;
      draw();
    },
    /** Draws the edge of a mask over the image: stored values, 0 outside of it. */
    setMask(values) {
      outline = values && edgeOf(values, image);
      later();
    },
    /** Has something drawn over the image: called with a pen, the frame of the image, and the pixels of a CSS pixel. */
    setOverlay(paint) {
      overlay = paint;
    },
    /** Draws again with the next frame of the screen. */
    again() {
      if (pixels) later();
    },
    /** The place in the image under a point of the stage, in CSS pixels; the middle of the first pixel is 0, 0. */
    toImage({ x, y }) {
      const ratio = globalThis.devicePixelRatio || 1;
      const { left, top, width, height } = frame();
      return { row: ((y * ratio - top) / height) * image.rows - 0.5, column: ((x * ratio - left) / width) * image.columns - 0.5 };
    },
    /** The point of the stage over a place in the image. */
    toStage({ row, column }) {
      const ratio = globalThis.devicePixelRatio || 1;
      const { left, top, width, height } = frame();
      return { x: (left + ((column + 0.5) / image.columns) * width) / ratio, y: (top + ((row + 0.5) / image.rows) * height) / ratio };
    },
    /** Zooms to `one` pixel of the screen for each of the image, or to the whole image. */
    zoomTo(one) {
      zoomBy((one ? native1() : 1) / view.zoom);
      view.x = view.y = 0;
      later();
    },
    isOneToOne: () => Math.abs(view.zoom / native1() - 1) < 1e-9,
    /** CSS pixels on the screen for each column of the image. */
    scale: () => (fitted().width * view.zoom) / image.columns,
    /** Shows the image here as another viewer shows its own. */
    follow(other) {
      if (!pixels) return;
      stale ||= ["center", "width", "inverted"].some((name) => view[name] !== other[name]);
      Object.assign(view, other);
      later();
    },
    /** Draws around a point of the stage, larger by a factor, over the whole of another canvas. */
    enlarge(on, at, factor) {
      if (!pixels) return;
      if (stale) window16();
      const ratio = globalThis.devicePixelRatio || 1;
      const size = fitted();
      const [width, height] = [size.width * view.zoom * factor, size.height * view.zoom * factor];
      const left = ((stage.clientWidth - size.width * view.zoom) / 2 + view.x - at.x) * factor;
      const top = ((stage.clientHeight - size.height * view.zoom) / 2 + view.y - at.y) * factor;
      on.fillStyle = "#000";
      on.fillRect(0, 0, on.canvas.width, on.canvas.height);
      const [x, y] = [on.canvas.width / 2 + left * ratio, on.canvas.height / 2 + top * ratio];
      put(on, { left: x, top: y, width: width * ratio, height: height * ratio }, ratio);
      counts.zoomed = true;
    },
    shows: () => Boolean(pixels),
    moveBy(x, y) {
      view.x += x;
      view.y += y;
      bound();
      later();
    },
    /** As in most viewers: right is wider, up is brighter. Steps are shares of the window's own width. */
    turnWindow(from, right, up) {
      setWindow({ center: from.center - up * from.width, width: from.width * Math.exp(right) });
    },
    invert() {
      view.inverted = !view.inverted;
      stale = true;
      later();
    },
    smoothen() {
      view.smooth = !view.smooth;
      later();
    },
    count() {
      counts.window_changes += 1;
    },
    counts: () => ({ ...counts }),
    image: () => image,
  };
}
