// The invitation: "Begin" is pressed once. A second press would spend a spent invitation and hide the personal code.

const form = document.querySelector("form");
form.addEventListener("submit", (event) => {
  if (form.dataset.sent) event.preventDefault();
  form.dataset.sent = "yes";
});
globalThis.addEventListener("pageshow", () => delete form.dataset.sent);
