// SPDX-License-Identifier: Apache-2.0
// The budgets side by side: up to three, with bars of one scale.

import { byId, changed } from "./dom.js";
import { Lane } from "./lane.js";

const MAX_LANES = 3;
export const lanes = [];

/** All bars have one scale, so that they can be compared. */
export function drawBars() {
  const scale = Math.max(16, ...lanes.map((lane) => lane.reach));
  for (const lane of lanes) lane.drawBar(scale);
}

let isDue = false;

/** Draws at most once a frame: an engine may send more often. */
function drawSoon() {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    drawBars();
    for (const lane of lanes) lane.follow();
  });
}

export function add(budget, refusals) {
  const lane = new Lane({ budget, refusals, remove, drawSoon });
  lanes.push(lane);
  byId("lanes").append(lane.root);
  arrange();
  return lane;
}

function remove(lane) {
  lanes.splice(lanes.indexOf(lane), 1);
  lane.root.remove();
  arrange();
  byId("add").focus();
}

function arrange() {
  lanes.forEach((lane, index) => lane.rename(index + 1, lanes.length));
  byId("lanes").dataset.count = lanes.length;
  byId("add").hidden = lanes.length === MAX_LANES;
  byId("which").hidden = lanes.length === 1;
  byId("lane-of-code").replaceChildren(...lanes.map((_, index) => new Option(`budget ${index + 1}`, index)));
  changed();
}
