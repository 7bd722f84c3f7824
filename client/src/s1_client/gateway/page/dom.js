// SPDX-License-Identifier: Apache-2.0
// Elements of the page. All text enters it as text nodes.

export const byId = (id) => document.getElementById(id);
export const count = (number) => number.toLocaleString("en");
export const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
export const numberIn = (input) => (input.value === "" ? undefined : input.valueAsNumber);

export function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}

export function drawn(tag, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

export function say(text) {
  byId("status").textContent = text;
}

/** Tells `page.js` that a lane has changed: its inputs, its phase or its reply. */
export const changed = () => document.dispatchEvent(new Event("lanechange"));
