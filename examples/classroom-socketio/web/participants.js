// Who is in the class, with the controls of a teacher.

import { by, element, written } from "./dom.js";

export class Participants {
  #people = [];
  #me = { id: "", role: "" };
  #onRemove;

  // `onRemove` takes the person whom a teacher removes.
  constructor({ onRemove }) {
    this.#onRemove = onRemove;
  }

  set me(me) {
    this.#me = me;
  }

  // Everyone but this page's person.
  get others() {
    return this.#people.filter(({ id }) => id !== this.#me.id);
  }

  // Shows these persons: teachers first, then by name.
  set(people) {
    const rank = ({ role }) => (role === "teacher" ? 0 : 1);
    this.#people = [...people].sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name));
    const list = by("participants");
    // What has the focus is made anew.
    const focused = list.contains(document.activeElement) ? document.activeElement.id : "";
    list.replaceChildren(...this.#people.map((person) => this.#person(person)));
    if (focused) (by(focused) ?? by("tab-participants")).focus();
    by("count").textContent = `(${this.#people.length})`;
  }

  #person(person) {
    const item = element("li", {}, written(person.name, { class: "name" }));
    if (person.role === "teacher") item.append(" ", element("span", { class: "badge" }, "Teacher"));
    if (person.id === this.#me.id) item.append(" ", element("span", { class: "note" }, "you"));
    if (this.#me.role === "teacher" && person.role === "student") item.append(this.#controls(person));
    return item;
  }

  #controls(person) {
    const remove = element("button", { type: "button" }, "Remove");
    remove.id = `remove-${person.id}`;
    remove.setAttribute("aria-label", `Remove ${person.name}`);
    remove.addEventListener("click", () => this.#onRemove(person));
    return element("span", { class: "controls" }, remove);
  }
}
