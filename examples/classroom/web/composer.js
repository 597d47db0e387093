// Where a message is written, and for whom.

import { by, element } from "./dom.js";

const MAX = 1000;
// The counter is shown when fewer characters than this are left.
const NEAR = 100;
const GROUPS = { all: "Everyone", others: "Everyone else", me: "Only me" };

export class Composer {
  #form = by("composer");
  #text = by("text");
  #to = by("to");
  #left = by("left");
  #send = by("send");
  #names = new Map();
  #problem = "";

  // `onSend` takes the text and the audience, and returns whether the message was taken.
  constructor({ onSend, onTyped }) {
    const send = () => {
      const text = this.#text.value.replace(/\r\n?/g, "\n").trimEnd();
      if (text.trim() === "" || [...text].length > MAX || this.#problem || this.#to.value === "") return;
      if (!onSend(text, this.#audience())) return;
      this.#text.value = "";
      this.#changed();
    };
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      send();
      this.#text.focus();
    });
    this.#text.addEventListener("keydown", (event) => {
      // Enter chooses a word of an input method, and does not send it.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      send();
    });
    this.#text.addEventListener("input", () => {
      this.#changed();
      if (this.#text.value.trim()) onTyped();
    });
    this.others([]);
    this.#changed();
  }

  focus() {
    this.#text.focus();
  }

  // Shows why nothing can be sent, or that it can.
  problem(text) {
    this.#problem = text;
    this.#changed();
  }

  // Offers these persons as receivers. The choice stays if it can.
  others(people) {
    const chosen = this.#to.value;
    this.#names = new Map(people.map(({ id, name }) => [id, name]));
    const groups = Object.entries(GROUPS).map(([value, text]) => element("option", { value }, text));
    const persons = people.map(({ id, name }) => element("option", { value: `person ${id}` }, name));
    const left = chosen.startsWith("person ") && !persons.some(({ value }) => value === chosen);
    this.#to.replaceChildren(...groups, ...persons);
    // Falling back to everyone would make a private message public.
    if (left) this.#to.append(element("option", { value: "", disabled: true }, "Not in the room any more"));
    this.#to.value = left ? "" : chosen || "all";
    this.#changed();
  }

  #audience() {
    const chosen = this.#to.value;
    if (!chosen.startsWith("person ")) return chosen;
    const id = chosen.slice("person ".length);
    return { id, name: this.#names.get(id) };
  }

  #changed() {
    const left = MAX - [...this.#text.value].length;
    const isShown = left < NEAR || this.#problem;
    this.#left.textContent = this.#problem || (isShown ? `${left} characters left` : "");
    this.#left.classList.toggle("over", left < 0 || Boolean(this.#problem));
    this.#send.disabled = left < 0 || Boolean(this.#problem) || this.#to.value === "";
  }
}
