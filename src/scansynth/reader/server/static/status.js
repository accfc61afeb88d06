// The status: what the page tells in words, beside the image and to a screen reader.

const byId = (id) => document.getElementById(id);

const SLOW = 800; // milliseconds until an answer on its way is worth a word

let cut = false;
let timer = 0;
let back = false; // the network is back, and not everything has arrived yet

/** Tells a screen reader, without moving the focus. Saying the same again is heard again. */
export function say(text) {
  const place = byId("said");
  place.textContent = place.textContent === text ? `${text}\u00a0` : text;
}

export function hint(text) {
  byId("hint").textContent = text;
}

/** How far the reader is: the image on the screen, of how many, and about how long the others take. */
export function tellPlace({ practice, teaching, again, number, total }, left) {
  byId("where").textContent = `${practice && !teaching ? "Practice image" : "Image"} ${number} of ${total}`;
  byId("left").textContent = left;
  byId("progress").max = total;
  byId("progress").value = number - 1;
  byId("practice").hidden = !practice || teaching;
  byId("teaching").hidden = !teaching;
  byId("again").hidden = !again;
}

/** Where locked answers are: on their way, kept here while the network is cut, or at the server. */
export function tellNetwork(left, error) {
  const place = byId("network");
  const wasCut = cut;
  clearTimeout(timer);
  cut = Boolean(error);
  back = (back || wasCut) && !cut;
  place.classList.toggle("cut", cut);
  if (cut) {
    const what = left === 1 ? "Your last answer is" : left ? `Your last ${left} answers are` : "Your choice is";
    place.textContent = `${error.status ? "The server is busy." : "No connection."} ${what} kept in this browser and will be sent when it is back.`;
    if (!wasCut) say(place.textContent);
  } else {
    place.textContent = back && !left ? "Connected again. All answers have arrived." : "";
    if (left) timer = setTimeout(() => (place.textContent = "Sending the answer."), SLOW);
    if (back && !left) say(place.textContent);
    back &&= left > 0;
  }
}
