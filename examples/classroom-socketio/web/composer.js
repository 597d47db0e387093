// Where a message is written, and for whom.

import { by, element } from "./dom.js";

const MAX = 1000;
// The counter is shown when fewer characters than this are left.
const NEAR = 100;

export class Composer {
  #text = by("text");
  #to = by("to");
  #people = [];
  #onSend;

  // `onSend` takes the text and the person, or `null` for all, and returns whether the message was taken.
  constructor({ onSend, onTyped }) {
    this.#onSend = onSend;
    by("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#sendText();
      this.#text.focus();
    });
    this.#text.addEventListener("keydown", (event) => {
      // Enter chooses a word of an input method, and does not send it.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#sendText();
    });
    this.#text.addEventListener("input", () => {
      this.#changed();
      if (this.#text.value.trim()) onTyped();
    });
    this.#to.addEventListener("change", () => this.#changed());
    this.others([]);
  }

  focus() {
    this.#text.focus();
  }

  // Offers these persons as receivers. The choice stays if it can.
  others(people) {
    const chosen = this.#to.value;
    this.#people = people;
    const options = people.map(({ id, name }) => element("option", { value: id }, name));
    const hasLeft = chosen !== "" && chosen !== "all" && !people.some(({ id }) => id === chosen);
    this.#to.replaceChildren(element("option", { value: "all" }, "Everyone"), ...options);
    // Falling back to everyone would make a private message public.
    if (hasLeft) this.#to.append(element("option", { value: "", disabled: true }, "Not in the class any more"));
    this.#to.value = hasLeft ? "" : chosen || "all";
    this.#changed();
  }

  #sendText() {
    const text = this.#text.value.replace(/\r\n?/g, "\n").trimEnd();
    if (text.trim() === "" || [...text].length > MAX || this.#to.value === "") return;
    const to = this.#people.find(({ id }) => id === this.#to.value) ?? null;
    if (!this.#onSend(text, to)) return;
    this.#text.value = "";
    this.#changed();
  }

  #changed() {
    const left = MAX - [...this.#text.value].length;
    by("left").textContent = left < NEAR ? `${left} characters left` : "";
    by("left").classList.toggle("over", left < 0);
    by("send").disabled = left < 0 || this.#to.value === "";
  }
}
