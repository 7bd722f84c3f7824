// SPDX-License-Identifier: Apache-2.0
// The page of `s1 gateway`: what its buttons and keys do. The other modules hold its parts.

import { showCode } from "./code.js";
import { drawCurve, redrawCurve } from "./curve.js";
import { byId, say } from "./dom.js";
import { add, drawBars, lanes } from "./lanes.js";
import { CHAT, call, findModel, sentence } from "./request.js";

let running = null; // the AbortController of what runs now: replies or a curve

function refresh() {
  const set = (id, isOff) => byId(id).setAttribute("aria-disabled", Boolean(isOff));
  set("go", running);
  set("draw", running);
  set("stop", !running);
  set("now", !lanes.some((lane) => lane.isThinking));
  for (const lane of lanes) lane.budgetInput.readOnly = lane.refusalsInput.readOnly = Boolean(running);
  document.body.classList.toggle("busy", Boolean(running));
}

async function run(work) {
  running = new AbortController();
  refresh();
  try {
    await work(running.signal);
  } finally {
    running = null;
    refresh();
  }
}

function ask() {
  const forms = [byId("ask"), ...lanes.map((lane) => lane.root)];
  const inputs = forms.flatMap((form) => [...form.querySelectorAll("input, textarea")]);
  if (running || !inputs.every((input) => input.reportValidity())) return;
  say("Waiting for the server");
  if (byId("lanes").getBoundingClientRect().top > innerHeight / 2) document.querySelector(".actions").scrollIntoView();
  run(async (signal) => {
    await Promise.all(lanes.map((lane) => lane.ask(signal)));
    if (!signal.aborted && lanes.length > 1 && !document.querySelector(".lane .problem")) say("All done");
  });
}

function answerNow() {
  for (const lane of lanes.filter((each) => each.isThinking)) {
    call(`${CHAT}/control`, { id: lane.id, action: "reasoning_end" }).catch((error) => {
      say(lane.name + (error.status === 404 ? "Too late: the reply had ended" : sentence(error)));
    });
  }
}

function stop() {
  running?.abort();
}

// --- start ---

document.addEventListener("lanechange", () => { drawBars(); showCode(); refresh(); });
byId("ask").addEventListener("submit", (event) => { event.preventDefault(); ask(); });
byId("ask").addEventListener("input", () => { drawBars(); showCode(); });
byId("curve").addEventListener("submit", (event) => { event.preventDefault(); if (!running) run(drawCurve); });
byId("now").addEventListener("click", answerNow);
byId("stop").addEventListener("click", stop);
byId("add").addEventListener("click", () => add(undefined, 0).budgetInput.focus());
byId("lane-of-code").addEventListener("change", showCode);
byId("key").addEventListener("change", () => findModel().then(showCode));
for (const button of document.querySelectorAll("[data-known]")) {
  button.addEventListener("click", () => {
    byId("question").value = button.textContent;
    byId("question").focus();
    byId("curve").elements.known.value = button.dataset.known;
    showCode();
  });
}
addEventListener("keydown", (event) => {
  if (event.key === "Escape") stop();
  if (!(event.ctrlKey || event.metaKey)) return;
  if (event.key === "Enter") ask();
  if (event.key === ".") answerNow();
});
addEventListener("resize", redrawCurve);

for (const budget of matchMedia("(min-width: 62rem)").matches ? [0, undefined] : []) add(budget, 0);
add(undefined, 1);
findModel().then(showCode);
