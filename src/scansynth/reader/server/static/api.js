// The server, as the page speaks to it.

const PATIENCE = 15000; // milliseconds until a request counts as lost
const LOCKED = ["answer", "second", "confidence", "seconds", "hidden_seconds", "window_changes", "zoomed", "comment", "marks", "percent", "nonce"];

let csrf = "";

/** An answer that is not the one hoped for. `again`: the same request may succeed later. */
export class ApiError extends Error {
  constructor(message, status, body) {
    super(message);
    this.status = status;
    this.body = body;
    this.again = status === 0 || status === 408 || status === 429 || status >= 500;
  }
}

async function send(method, path, value, read) {
  const headers = { Accept: read === "bytes" ? "application/octet-stream" : "application/json" };
  if (method !== "GET") headers["X-CSRF-Token"] = csrf;
  if (value !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, {
      method, headers, credentials: "same-origin", cache: "no-store", redirect: "error",
      body: value === undefined ? undefined : JSON.stringify(value), signal: AbortSignal.timeout(PATIENCE),
    });
    if (answer.ok && read === "bytes") return await answer.arrayBuffer();
    const body = answer.status === 204 ? {} : await answer.json().catch(() => ({}));
    if (answer.ok) return body;
    throw new ApiError(body.error ?? `The server answered ${answer.status}.`, answer.status, body);
  } catch (error) {
    if (error instanceof ApiError) throw error;
    throw new ApiError("The server cannot be reached.", 0, null);
  }
}

export async function getState() {
  const state = await send("GET", "/api/state");
  if (state.csrf) csrf = state.csrf;
  return state;
}

/** Sends, and once more with a new token when the old one has run out. */
async function change(method, path, value) {
  try {
    return await send(method, path, value);
  } catch (error) {
    if (error.status !== 403) throw error;
    const before = csrf;
    await getState();
    if (csrf === before) throw error;
    return send(method, path, value);
  }
}

/** Stored values of one image. The length is checked, because a cut answer must never look like an image. */
export async function getPixels(path, length) {
  const bytes = await send("GET", path, undefined, "bytes");
  if (bytes.byteLength !== length * 2) throw new ApiError("The image did not arrive completely.", 0, null);
  return new Uint16Array(bytes);
}

export const getBuffer = (item, length) => getPixels(`/api/buffer/${item}`, length);
export const putDraft = (item, draft) => change("PUT", `/api/draft/${item}`, draft);

/** Locks an answer. A resend with the same nonce gives the same result, so nothing is ever counted twice. */
export async function postLock(kept) {
  const record = Object.fromEntries(LOCKED.map((name) => [name, kept[name]]));
  const state = await change("POST", `/api/lock/${kept.item}`, record);
  if (state.csrf) csrf = state.csrf;
  return state;
}

/** Takes back the last answer; a resend changes nothing. */
export const postUndo = (item) => change("POST", `/api/undo/${item}`);
export const postScreen = (seen) => change("POST", "/api/screen", { seen });
export const postPause = (paused, seconds) => change("POST", "/api/pause", { paused, seconds });
export const postLogout = () => change("POST", "/api/logout");
export const getAdmin = () => send("GET", "/api/admin");
