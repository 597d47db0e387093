// The only functions that create elements. All that others write gets in here, as text.

export const by = (id) => document.getElementById(id);

// Creates an element with properties and children; strings become text.
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") made.className = value;
    else if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

// A name or a text of a person, whose direction does not affect what is around it.
export const written = (text, properties) => element("bdi", properties, text);

export function time(timestamp) {
  const date = new Date(timestamp);
  const isToday = date.toDateString() === new Date().toDateString();
  const shown = isToday ? { hour: "2-digit", minute: "2-digit" } : { dateStyle: "short", timeStyle: "short" };
  return element("time", { dateTime: date.toISOString() }, date.toLocaleString([], shown));
}

// Lets the tabs of a list be chosen by pointer and by arrow keys.
export function tabs(list) {
  const all = [...list.querySelectorAll("[role=tab]")];
  const choose = (chosen) => {
    for (const tab of all) {
      const isChosen = tab === chosen;
      tab.setAttribute("aria-selected", isChosen);
      tab.tabIndex = isChosen ? 0 : -1;
      by(tab.getAttribute("aria-controls")).hidden = !isChosen;
    }
  };
  list.addEventListener("click", ({ target }) => all.includes(target) && choose(target));
  list.addEventListener("keydown", (event) => {
    const at = all.indexOf(document.activeElement);
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: all.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    const next = all[(to + all.length) % all.length];
    choose(next);
    next.focus();
  });
  return { choose: (id) => choose(by(id)) };
}

// Shows one of the main parts of the page, and hides the others.
export function show(part) {
  for (const each of document.querySelectorAll("main")) each.hidden = each.id !== part;
}

const STATES = { connecting: "Connecting…", open: "Connected", reconnecting: "Reconnecting…", closed: "Closed" };

// Shows the state of the connection.
export function showState(place, state, reason = "") {
  place.dataset.state = state;
  place.textContent = reason && state !== "open" ? `${STATES[state]} ${reason}` : STATES[state];
}
