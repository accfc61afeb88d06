// The answers: groups of radio buttons built from the study's own words, with a key for each.

export const SURENESS = ["Unsure", "Fairly sure", "Sure"];
const SURE_KEYS = ["7", "8", "9"];
const TAKEN = "IRWSMPFOGBUTK"; // keys of the image, the pause, the last answer, the comment and marks
const KEYBOARD = globalThis.matchMedia("(hover: hover) and (pointer: fine)"); // else keys are not spoken of

/** A letter for each option: its first letter where that is free, else the next free one of its letters. */
export function optionKeys(options) {
  const taken = new Set(TAKEN);
  return options.map((option) => {
    const letters = [...option.toUpperCase(), ..."ABCDEFGHJKLNOQTUVXYZ"].filter((letter) => /[A-Z]/.test(letter));
    const key = letters.find((letter) => !taken.has(letter)) ?? "";
    taken.add(key);
    return key;
  });
}

function group(fieldset, name, labels, keys, inRow) {
  const box = document.createElement("div");
  box.className = inRow ? "choices row" : "choices";
  labels.forEach((label, at) => {
    const choice = document.createElement("label");
    choice.className = "choice";
    const input = document.createElement("input");
    Object.assign(input, { type: "radio", name, value: String(at + 1) });
    if (keys[at]) input.setAttribute("aria-keyshortcuts", keys[at]);
    const text = document.createElement("span");
    text.textContent = label.charAt(0).toUpperCase() + label.slice(1);
    const cap = document.createElement("kbd");
    cap.textContent = keys[at];
    cap.setAttribute("aria-hidden", "true");
    choice.append(input, text, cap);
    box.append(choice);
  });
  fieldset.append(box);
  fieldset.hidden = false;
  return [...box.querySelectorAll("input")];
}

/**
 * @param {HTMLFormElement} form
 * @param {object} state the server's state: `scale` and `second_question`
 * @param {() => void} changed called when the reader chooses
 * @param {object|null} marks on findings, where the study asks for them
 */
export function createAnswers(form, state, changed, marks = null) {
  const groups = { answer: group(form.querySelector("#scale"), "answer", state.scale, ["1", "2", "3", "4", "5", "6"]) };
  const byKey = new Map(groups.answer.map((input) => [input.value, input]));
  const asked = { answer: `First choose how the image looks to you${KEYBOARD.matches ? " (keys 1 to 6)" : ""}.` };
  const comment = form.querySelector("#comment");
  const question = state.second_question;
  if (question) {
    form.querySelector("#second-text").textContent = question.text;
    const keys = optionKeys(question.options);
    groups.second = group(form.querySelector("#second"), "second", question.options, keys, true);
    groups.second.forEach((input, at) => byKey.set(keys[at], input));
    asked.second = `Please also answer: ${question.text}`;
    if (question.confidence) {
      groups.confidence = group(form.querySelector("#confidence"), "confidence", SURENESS, SURE_KEYS, true);
      groups.confidence.forEach((input, at) => byKey.set(SURE_KEYS[at], input));
      asked.confidence = "Please also say how sure you are of the second answer.";
    }
  }
  form.addEventListener("change", changed);
  form.querySelector("#extras").hidden = false;
  form.querySelector("#comment-open").hidden = !state.comments;
  form.querySelector("#comment-open").addEventListener("click", () => unfold(comment.hidden));

  function unfold(open) {
    comment.hidden = !open;
    form.querySelector("#comment-open").setAttribute("aria-expanded", String(open));
    if (open) comment.focus();
  }

  const chosen = (name) => groups[name]?.find((input) => input.checked)?.value;

  function value() {
    const read = (name) => (chosen(name) ? Number(chosen(name)) : null);
    const said = { answer: read("answer"), second: read("second"), confidence: read("confidence") };
    return { ...said, comment: comment.value, ...(marks ? { marks: marks.value() } : {}) };
  }

  return {
    value,
    set(draft) {
      for (const [name, inputs] of Object.entries(groups)) {
        for (const input of inputs) input.checked = draft?.[name] === Number(input.value);
      }
      marks?.set(draft?.marks);
      comment.value = draft?.comment ?? "";
      comment.hidden = !comment.value;
      form.querySelector("#comment-open").setAttribute("aria-expanded", String(!comment.hidden));
    },
    /** Opens the field of the comment. */
    comment() {
      if (!state.comments || comment.disabled) return false;
      unfold(true);
      return true;
    },
    /** What is still to be said, and where; null when all is said. */
    missing() {
      const name = Object.keys(groups).find((one) => !chosen(one));
      return name ? { text: asked[name], input: groups[name][0] } : marks?.missing() ?? null;
    },
    /** Chooses by a key; tells whether the key was one of ours. */
    press(key) {
      const input = byKey.get(key.toUpperCase());
      if (!input || input.disabled) return false;
      input.checked = true;
      changed();
      return true;
    },
    freeze(frozen) {
      for (const input of [...Object.values(groups).flat(), comment]) input.disabled = frozen;
      marks?.freeze(frozen);
    },
    focusFirst: () => groups.answer[0].focus(),
    label: (answer) => state.scale[answer - 1],
    /** Keys and what they choose, for the list of keys. */
    keys: () => [...byKey].map(([key, input]) => [key, input.nextElementSibling.textContent]),
  };
}
