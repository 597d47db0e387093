// Who is in the room, with the controls of a teacher.

import { by, element, written } from "./dom.js";

export class Participants {
  #people = new Map();
  #me = null;
  #act;
  #onChange;

  // `act` takes what a teacher does, `teacher:mute` for example, and the person.
  constructor({ act, onChange }) {
    this.#act = act;
    this.#onChange = onChange;
  }

  // Takes the list of the answer to a join.
  reset(people, me) {
    this.#me = me;
    this.#people = new Map(people.map((person) => [person.id, person]));
    this.#show();
  }

  joined(person) {
    this.#people.set(person.id, person);
    this.#show();
  }

  changed({ id, ...change }) {
    const person = this.#people.get(id);
    if (!person) return;
    Object.assign(person, change);
    this.#show();
  }

  left(id) {
    if (this.#people.delete(id)) this.#show();
  }

  get(id) {
    return this.#people.get(id);
  }

  // Everyone but this page's person, by name.
  get others() {
    return this.#sorted().filter(({ id }) => id !== this.#me.id);
  }

  #sorted() {
    const rank = ({ role }) => (role === "teacher" ? 0 : 1);
    return [...this.#people.values()].sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name));
  }

  #show() {
    const list = by("participants");
    // What has the focus is made anew.
    const focused = list.contains(document.activeElement) ? document.activeElement.id : "";
    list.replaceChildren(...this.#sorted().map((person) => this.#person(person)));
    if (focused) (by(focused) ?? by("tab-participants")).focus();
    by("count").textContent = `(${this.#people.size})`;
    this.#onChange();
  }

  #person(person) {
    const item = element("li", {}, written(person.name, { class: "name" }));
    if (person.role === "teacher") item.append(" ", element("span", { class: "badge" }, "Teacher"));
    if (person.id === this.#me.id) item.append(" ", element("span", { class: "note" }, "you"));
    if (person.muted) item.append(" ", element("span", { class: "note" }, "muted"));
    if (this.#me.role === "teacher" && person.role === "student") item.append(this.#controls(person));
    return item;
  }

  #controls(person) {
    const button = (id, text, action) =>
      element(
        "button",
        {
          type: "button",
          id: `${id}-${person.id}`,
          "aria-label": `${text} ${person.name}`,
          onclick: () => this.#act(action, person),
        },
        text,
      );
    const mute = person.muted ? button("mute", "Unmute", "teacher:unmute") : button("mute", "Mute", "teacher:mute");
    return element("span", { class: "controls" }, mute, " ", button("remove", "Remove", "teacher:remove-student"));
  }
}
