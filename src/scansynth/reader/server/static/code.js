// The page of the personal code: the full address, and a button that copies both.

const byId = (id) => document.getElementById(id);
const address = `${location.origin}/resume`;

byId("address").textContent = address;
byId("copy").hidden = false;
byId("copy").addEventListener("click", async () => {
  const text = `${address}\n${byId("code").textContent}`;
  let copied = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    copied = copiedBySelection(text); // without TLS a browser has no clipboard for scripts
  }
  byId("copied").textContent = copied ? "Copied." : "Your browser does not allow copying; please write both down.";
});

// The reading takes this page's place: a browser that goes back to what a form was answered with shows an error instead.
// So there is no link before this is at work.
byId("start").addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  location.replace(event.currentTarget.href);
});
byId("start").hidden = false;

function copiedBySelection(text) {
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  return copied;
}
