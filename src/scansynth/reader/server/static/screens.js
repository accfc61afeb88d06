// Screens: what stands in the place of the image when there is none to read.

const byId = (id) => document.getElementById(id);

const WORDS = {
  done: {
    title: "Thank you. You have read everything.",
    text: "All your answers are locked. You can close this page.",
    button: "Sign out",
  },
  closed: {
    title: "This study is closed",
    text: "No more answers are accepted. Thank you for taking part.",
  },
  taught: {
    title: "That was the last image",
    text: "Nothing was counted. You can close this page, or go through the images again with your personal code.",
    button: "Sign out",
  },
  left: {
    title: "You are signed out",
    text: "All locked answers are saved. Continue later with your personal code, here or on another device.",
    link: "Continue reading",
  },
  elsewhere: {
    title: "This page is no longer signed in",
    text: "The study was opened on another device, or your session expired. All locked answers are saved.",
    link: "Continue here",
  },
  lost: {
    title: "The server cannot be reached",
    text: "The page tries again automatically. No locked answer is lost.",
    button: "Try now",
  },
  fault: {
    title: "Something went wrong",
    text: "Please reload the page. If that does not help, send the study team the text below.",
    button: "Reload",
  },
};

/**
 * @param {string} name one of WORDS
 * @param {string} more a sentence below, or nothing
 * @param {() => void} act what the button does
 * @param {(() => void)|null} undo changes the last answer; none: it cannot be changed
 */
export function showScreen(name, more = "", act = () => {}, undo = null) {
  const words = WORDS[name];
  for (const open of document.querySelectorAll("dialog[open]")) open.close();
  byId("worklist").hidden = true;
  byId("screen").hidden = false;
  byId("screen-title").textContent = words.title;
  byId("screen-text").textContent = words.text;
  byId("screen-more").textContent = more;
  byId("screen-more").hidden = !more;
  const button = byId("screen-button");
  button.hidden = !words.button;
  button.textContent = words.button ?? "";
  button.onclick = act;
  byId("screen-undo").hidden = !undo;
  byId("screen-undo").onclick = undo;
  byId("screen-link").hidden = !words.link;
  byId("screen-link").textContent = words.link ?? "";
  document.title = `${words.title} · ${document.title.split(" · ").slice(1).join(" · ")}`;
  byId("screen-title").focus();
}

/** The worklist again, after a screen. */
export function showWorklist() {
  byId("screen").hidden = true;
  byId("worklist").hidden = false;
}
