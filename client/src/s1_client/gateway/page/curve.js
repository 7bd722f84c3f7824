// SPDX-License-Identifier: Apache-2.0
// The curve of a question with a known answer: the share of right answers over the tokens of thinking.

import { byId, count, drawn, element, numberIn, say } from "./dom.js";
import { CHAT, call, model, question, sentence, settings } from "./request.js";

/** Wilson's interval of a share, with 95 % confidence. */
function wilson(right, number) {
  const z = 1.959964;
  const share = right / number;
  const scale = 1 + z ** 2 / number;
  const middle = (share + z ** 2 / (2 * number)) / scale;
  const half = (z / scale) * Math.sqrt((share * (1 - share)) / number + z ** 2 / (4 * number ** 2));
  return [Math.max(0, middle - half), Math.min(1, middle + half)];
}

const NUMBER = /(?:(?<![\w)])-)?\d+(?:,\d{3})*(?:\.\d+)?/g;
const toNumber = (text) => Number(text.replaceAll(",", ""));

/** The part of an answer that is compared: its last number, or for known answers that are no numbers its text. */
function valueOf(answer, known) {
  if (Number.isNaN(toNumber(known))) return answer.trim();
  return answer.match(NUMBER)?.at(-1) ?? "none";
}

function isRight(value, known) {
  if (Number.isNaN(toNumber(known))) return value.toLowerCase().includes(known.toLowerCase());
  return value !== "none" && toNumber(value) === toNumber(known);
}

async function measure(budget, form, signal) {
  const shared = settings();
  const fields = { ...shared, n: numberIn(form.samples), num_ignore: numberIn(form.refusals), temperature: numberIn(form.temperature) };
  const body = { model, messages: question(), max_thinking_tokens: budget, ...fields };
  const reply = await (await call(CHAT, body, signal)).json();
  const values = reply.choices.map((choice) => valueOf(choice.message.content, form.known.value.trim()));
  const right = values.filter((value) => isRight(value, form.known.value.trim())).length;
  const thinking = reply.s1.samples.reduce((sum, sample) => sum + sample.usage.num_thinking_tokens, 0) / values.length;
  return { budget, values, right, thinking, share: right / values.length, interval: wilson(right, values.length) };
}

export async function drawCurve(signal) {
  const form = byId("curve").elements;
  const budgets = [...new Set(form.budgets.value.split(",").map(Number))].sort((one, other) => one - other);
  const points = [];
  try {
    for (const budget of budgets) {
      say(`Curve: budget ${points.length + 1} of ${budgets.length}`);
      points.push(await measure(budget, form, signal));
      showCurve(points);
    }
    say("Curve: done");
  } catch (error) {
    byId("figure").hidden = false;
    byId("caption").textContent = signal.aborted ? "Stopped." : sentence(error);
    say(signal.aborted ? "Curve: stopped" : "Curve: failed");
  }
}

let shownPoints = [];

function showCurve(points) {
  shownPoints = points;
  byId("figure").hidden = false;
  const { known, samples, refusals } = byId("curve").elements;
  byId("caption").textContent = `Share of right answers (“${known.value.trim()}”) over thinking tokens, mean of ${samples.value} samples; `
    + `bars: Wilson's 95 % interval. Ends refused: ${refusals.value}.`;
  byId("rows").replaceChildren(...points.map(row));
  byId("plot").replaceChildren(plot(points, byId("plot").clientWidth, 260));
}

const percentOf = (share) => `${Math.round(100 * share)} %`;

function row({ budget, values, right, thinking, interval }) {
  const tally = new Map();
  for (const value of values) tally.set(value, (tally.get(value) ?? 0) + 1);
  const common = [...tally].sort((one, other) => other[1] - one[1]).slice(0, 4).map(([value, times]) => `${value.slice(0, 20)} ×${times}`);
  const cells = [count(budget), thinking.toFixed(1), `${right} of ${values.length}`, interval.map(percentOf).join(" to "), common.join(", ")];
  const made = element("tr");
  made.append(...cells.map((text) => element("td", "", text)));
  return made;
}

function plot(points, width, height) {
  const [left, top, right, bottom] = [48, 12, width - 16, height - 42];
  const most = Math.max(1, ...points.map((point) => point.thinking));
  const x = (tokens) => left + (tokens / most) * (right - left);
  const y = (share) => bottom - share * (bottom - top);
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": "The curve; its numbers are in the table below" });
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    svg.append(drawn("line", { class: "grid", x1: left, x2: right, y1: y(share), y2: y(share) }));
    svg.append(drawn("text", { x: left - 8, y: y(share) + 4, "text-anchor": "end" }, percentOf(share)));
  }
  svg.append(drawn("polyline", { class: "line", points: points.map((point) => `${x(point.thinking)},${y(point.share)}`).join(" ") }));
  for (const { thinking, share, interval: [low, high] } of points) {
    svg.append(drawn("line", { class: "interval", x1: x(thinking), x2: x(thinking), y1: y(low), y2: y(high) }));
    svg.append(drawn("circle", { cx: x(thinking), cy: y(share), r: 5 }));
  }
  let free = -Infinity; // the labels of close points would stand on each other
  for (const { thinking } of points) {
    if (x(thinking) < free) continue;
    free = x(thinking) + 34;
    svg.append(drawn("text", { x: x(thinking), y: bottom + 18, "text-anchor": "middle" }, count(Math.round(thinking))));
  }
  svg.append(drawn("text", { x: right, y: height - 6, "text-anchor": "end" }, "thinking tokens"));
  return svg;
}

/** Draws the last curve again, for a window of another width. */
export function redrawCurve() {
  if (shownPoints.length) showCurve(shownPoints);
}
