// The administrator's page: who has read how much. Answers given never comes here.

import { getAdmin } from "./api.js";

const EVERY = 10000; // milliseconds
const byId = (id) => document.getElementById(id);

function moment(text) {
  return text ? new Date(text).toLocaleString([], { dateStyle: "medium", timeStyle: "short" }) : "never";
}

function row(reader) {
  const line = document.createElement("tr");
  const head = document.createElement("th");
  head.scope = "row";
  head.textContent = reader.reader;
  line.append(head);
  const invitation = reader.opened ? `used ${moment(reader.opened)}` : "not used";
  const first = reader.first_total ? [`${reader.first_done} of ${reader.first_total}`] : [];
  byId("first-head").hidden = !first.length;
  const texts = [invitation, moment(reader.last_seen), ...first, `${reader.practice_done} of ${reader.practice_total}`,
    `${reader.done} of ${reader.total}`, reader.state, reader.screen ?? "not checked yet"];
  for (const text of texts) line.insertCell().textContent = text;
  const bar = document.createElement("progress");
  bar.max = reader.total;
  bar.value = reader.done;
  bar.setAttribute("aria-label", `Images read by ${reader.reader}`);
  line.cells[4 + first.length].append(bar);
  return line;
}

async function renew() {
  try {
    const { readers, closed } = await getAdmin();
    const finished = readers.filter((reader) => reader.finished).length;
    const text = `${finished} of ${readers.length} readers have finished.${closed ? " The study is closed." : ""}`;
    if (byId("summary").textContent !== text) byId("summary").textContent = text;
    byId("readers").replaceChildren(...readers.map(row));
    byId("renewed").textContent = `Last refreshed at ${new Date().toLocaleTimeString()}.`;
  } catch (error) {
    if (error.status === 401 || error.status === 403) location.reload();
    else byId("renewed").textContent = `${error.message} Trying again.`;
  }
}

renew();
setInterval(() => document.hidden || renew(), EVERY);
document.addEventListener("visibilitychange", () => document.hidden || renew());
