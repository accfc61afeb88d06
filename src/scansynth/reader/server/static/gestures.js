// Gestures: mouse, pen and fingers on the stage.

const PER_PIXEL = 1 / 250; // share of the window's width for each pixel of a drag
const PER_WHEEL = Math.log(1.15) / 100; // zoom for each pixel of the wheel; a notch of a mouse is about 100
const PER_PINCH = Math.log(1.15) / 12; // a pinch on a trackpad comes as a wheel with Ctrl, in small steps
const MOST_A_SECOND = Math.log(2.5); // a flick on a trackpad goes no further
const STILL = { mouse: 3, pen: 5, touch: 9 }; // CSS pixels within which a press on the image is a click, where clicks mark
const LINE = 34; // pixels of a line, where a browser counts in lines: three are a notch

/** Zoom by the distance that the wheel went, whatever steps it came in; sideways scrolling is none. */
export function createWheel() {
  let past = []; // [moment, zoom as a logarithm] of the last second

  /** @returns {number} the factor by which to zoom */
  return (event, now = performance.now()) => {
    if (Math.abs(event.deltaX) >= Math.abs(event.deltaY)) return 1;
    const unit = event.deltaMode === 1 ? LINE : event.deltaMode === 2 ? 10 * LINE : 1;
    const wanted = -event.deltaY * unit * (event.ctrlKey ? PER_PINCH : PER_WHEEL);
    past = past.filter(([moment]) => now - moment < 1000);
    const gone = past.reduce((sum, [, step]) => sum + step, 0);
    const step = Math.min(Math.max(gone + wanted, -MOST_A_SECOND), MOST_A_SECOND) - gone;
    past.push([now, step]);
    return Math.exp(step);
  };
}

/**
 * Drag: window. Right or middle button, Shift, two fingers, or move mode: place. Wheel or pinch: zoom.
 *
 * @param {HTMLElement} stage
 * @param {object} viewer
 * @param {() => boolean} moving whether a plain drag moves the image
 * @param {object|null} marks what clicks set and plain drags move, where findings are marked
 */
export function attachGestures(stage, viewer, moving, marks = null) {
  const down = new Map(); // pointers on the stage, by their id
  let drag = null; // {kind, x, y, from, changed}
  let clicked = null; // what a click does: it comes last, after what a tap makes the browser do with the focus
  let pinch = null; // {distance, x, y}
  const wheel = createWheel();

  function middle() {
    const box = stage.getBoundingClientRect();
    return { x: box.left + box.width / 2, y: box.top + box.height / 2 };
  }

  function spread() {
    const [one, other] = [...down.values()];
    return { distance: Math.hypot(one.x - other.x, one.y - other.y) || 1, x: (one.x + other.x) / 2, y: (one.y + other.y) / 2 };
  }

  /** Whether the pointer has not moved since it went down, as far as a hand can tell. */
  function still(event) {
    return !drag.changed && Math.hypot(event.clientX - drag.x, event.clientY - drag.y) <= (marks ? STILL[event.pointerType] ?? 3 : 1);
  }

  function endDrag(event = null) {
    if (drag?.kind === "window" && drag.changed) viewer.count();
    clicked = null;
    if (drag?.kind === "mark") {
      marks.letGo(event?.type !== "pointerup");
      clicked = marks.focus;
    } else if (marks && event?.type === "pointerup" && drag?.plain && still(event)) clicked = () => marks.tap(event);
    drag = null;
  }

  stage.addEventListener("pointerdown", (event) => {
    if (!viewer.image()) return;
    stage.setPointerCapture(event.pointerId);
    down.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (down.size === 2) {
      endDrag();
      pinch = spread();
    } else if (down.size === 1) {
      const place = event.button !== 0 || event.shiftKey || moving();
      const { center, width } = viewer.view;
      const plain = event.button === 0 && !event.shiftKey;
      const mark = plain && !place && marks?.grab(event);
      drag = { kind: mark ? "mark" : place ? "place" : "window", plain, x: event.clientX, y: event.clientY,
        from: { center, width }, changed: false };
    }
  });

  stage.addEventListener("pointermove", (event) => {
    if (!down.has(event.pointerId)) return;
    const before = down.get(event.pointerId);
    down.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (pinch && down.size === 2) {
      const now = spread();
      const about = middle();
      viewer.zoomBy(now.distance / pinch.distance, now.x - about.x, now.y - about.y);
      viewer.moveBy(now.x - pinch.x, now.y - pinch.y);
      pinch = now;
    } else if (drag?.kind === "mark") {
      marks.pull(event);
    } else if (drag?.kind === "place") {
      drag.changed ||= !still(event);
      viewer.moveBy(event.clientX - before.x, event.clientY - before.y);
    } else if (drag) {
      if (marks && still(event)) return;
      drag.changed ||= !still(event);
      viewer.turnWindow(drag.from, (event.clientX - drag.x) * PER_PIXEL, (drag.y - event.clientY) * PER_PIXEL);
    }
  });

  function up(event) {
    down.delete(event.pointerId);
    if (down.size < 2) pinch = null;
    if (down.size === 0) endDrag(event);
  }
  stage.addEventListener("pointerup", up);
  stage.addEventListener("pointercancel", up);

  stage.addEventListener("click", () => {
    clicked?.();
    clicked = null;
  });

  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (!viewer.image()) return;
    const about = middle();
    viewer.zoomBy(wheel(event), event.clientX - about.x, event.clientY - about.y);
  }, { passive: false });
  stage.addEventListener("dblclick", () => viewer.image() && !marks && viewer.reset());
  stage.addEventListener("contextmenu", (event) => event.preventDefault());
}
