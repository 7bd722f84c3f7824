// SPDX-License-Identifier: Apache-2.0
// The page of `s1 gateway`: asks its chat API, and shows what the server reports. All text enters the page as text nodes.

const CHAT = "v1/chat/completions"; // relative: the gateway may stand behind a path of a proxy
const MAX_LANES = 3;
const byId = (id) => document.getElementById(id);
const count = (number) => number.toLocaleString("en");
const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

let model = "s1";
let running = null; // the AbortController of what runs now: replies or a curve
const lanes = [];

// --- elements ---

function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}

function drawn(tag, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

function say(text) {
  byId("status").textContent = text;
}

// --- requests ---

const numberIn = (input) => (input.value === "" ? undefined : input.valueAsNumber);

/** The settings that all budgets share, as fields of the request; those that are left empty are the server's. */
function settings() {
  const inputs = byId("settings").querySelectorAll("input[name]");
  const pairs = [...inputs].map((input) => [input.name, input.type === "number" ? numberIn(input) : input.value || undefined]);
  return Object.fromEntries(pairs.filter(([, value]) => value !== undefined));
}

function question() {
  return [{ role: "user", content: byId("question").value }];
}

/** Throws an Error with a sentence for the reader if the gateway refuses, or cannot be reached. */
async function call(path, body, signal) {
  const headers = { "content-type": "application/json" };
  const key = byId("key").value;
  if (key) headers.authorization = `Bearer ${key}`;
  const response = await fetch(path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), signal });
  if (response.ok) return response;
  const { error } = await response.json().catch(() => ({ error: { message: `status ${response.status}` } }));
  if (response.status === 401) byId("settings").open = true;
  const text = response.status === 401 ? `${error.message}. Enter an API key in the settings.` : error.message;
  throw Object.assign(new Error(text), { status: response.status });
}

function sentence(error) {
  return error instanceof TypeError ? "The gateway cannot be reached." : error.message;
}

/** Yields the chunks of a streamed reply. Throws an Error if the stream fails or breaks off. */
async function* chunksOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Error("The connection ended before the reply did.");
    const frames = (rest + value).split("\n\n");
    rest = frames.pop();
    for (const frame of frames.filter((text) => text.startsWith("data: "))) {
      if (frame === "data: [DONE]") return;
      const chunk = JSON.parse(frame.slice("data: ".length));
      if (chunk.error) throw new Error(chunk.error.message);
      yield chunk;
    }
  }
}

// --- a budget and its reply ---

const CUTS = {
  budget: "cut: the budget is spent",
  boundary: "cut behind a sentence, within the grace",
  grace: "cut: budget and grace are spent",
  length: "cut: the context is full",
  deadline: "cut: the time is up",
  answer_now: "cut by Answer now",
};
const THINKING_ENDS = {
  natural: "ended by itself",
  budget: "cut by the budget",
  answer_now: "cut by Answer now",
  deadline: "cut by the time limit",
  length: "cut by the context",
  skipped: "skipped",
  off: "turned off",
  absent: "none",
};
const ANSWER_ENDS = {
  stop: "complete",
  stop_word: "ended at a stop word",
  length: "cut",
  deadline: "cut by the time limit",
  empty: "empty",
  missing: "missing",
};

function accountOf({ usage, finish_reason: ends, rounds, total_ms: ms, engine_time_to_first_token_ms: first }, refusedAt) {
  const putIn = usage.num_thinking_injected;
  const reused = rounds.reduce((sum, round) => sum + (round.kv_reused_blocks ?? 0), 0);
  return [
    `${plural(usage.num_thinking_tokens, "thinking token")}${putIn ? ` (${putIn} injected)` : ""}${refusedAt}, ${THINKING_ENDS[ends.thinking]}`,
    `${plural(usage.num_answer_tokens, "answer token")}, ${ANSWER_ENDS[ends.answer]}`,
    ...(first === null ? [] : [`first token ${Math.round(first)} ms`]),
    `${(ms / 1000).toFixed(2)} s`,
    `${count(Math.round((1000 * usage.num_output_ids) / ms))} tokens/s`,
    ...(reused ? [`${plural(reused, "KV block")} reused`] : []),
  ].join(" · ");
}

class Lane {
  constructor(budget, refusals) {
    this.root = byId("lane").content.firstElementChild.cloneNode(true);
    const part = (selector) => this.root.querySelector(selector);
    [this.budgetInput, this.refusalsInput] = [part("[name=budget]"), part("[name=refusals]")];
    [this.bar, this.thought, this.answer] = [part(".bar"), part(".thought"), part(".answer p")];
    [this.counted, this.ofBudget, this.account] = [part(".count b"), part(".count span"), part(".account")];
    [this.budgetInput.value, this.refusalsInput.value] = [budget ?? "", refusals];
    part(".remove").addEventListener("click", () => remove(this));
    this.root.addEventListener("input", () => this.reset());
    this.reset();
  }

  /** undefined = no limit but the context. */
  get budget() {
    return numberIn(this.budgetInput);
  }

  /** What is asked of the server beside the question. */
  get fields() {
    return { max_thinking_tokens: this.budget ?? -1, num_ignore: numberIn(this.refusalsInput), ...settings() };
  }

  get isThinking() {
    return this.phase === "thinking" && Boolean(this.id);
  }

  rename(number) {
    this.name = lanes.length > 1 ? `Budget ${number}: ` : "";
    const title = lanes.length > 1 ? `Budget ${number}` : "One budget";
    this.root.querySelector("h2").textContent = title;
    this.thought.setAttribute("aria-label", `Thought, ${title}`);
    this.bar.setAttribute("aria-label", `Thinking tokens, ${title}`);
    const button = this.root.querySelector(".remove");
    button.setAttribute("aria-label", `Remove budget ${number}`);
    button.hidden = lanes.length === 1;
  }

  reset() {
    if (this.phase === "waiting" || this.phase === "thinking" || this.phase === "answer") return;
    [this.id, this.phase, this.tokens, this.ticks, this.hasEnd, this.allowed, this.height] = [null, "idle", 0, [], false, null, 0];
    for (const part of [this.thought, this.answer, this.account]) part.textContent = "";
    drawBars();
    showCode();
  }

  async ask(signal) {
    this.reset();
    this.sent = this.fields;
    this.enter("waiting", "");
    try {
      const body = { model, messages: question(), stream: true, include_events: true, ...this.sent };
      for await (const chunk of chunksOf(await call(CHAT, body, signal))) this.take(chunk);
    } catch (error) {
      this.fail(signal.aborted ? null : error);
    }
    this.root.classList.remove("running", "answering");
    this.phase = "done";
    refresh();
  }

  enter(phase, announcement) {
    this.phase = phase;
    this.root.classList.add("running");
    this.root.classList.toggle("answering", phase === "answer");
    if (announcement) say(this.name + announcement);
    refresh();
  }

  fail(error) {
    this.thought.append(...(error || this.hasEnd ? [] : ["\n", element("span", "chip cut", "stopped")]));
    this.account.append(error ? element("span", "problem", sentence(error)) : "Stopped.");
    say(`${this.name}${error ? "Failed" : "Stopped"}`);
  }

  take({ id, choices: [choice], s1 }) {
    this.id = id;
    if (choice?.finish_reason) this.finish(s1);
    else if (s1) this.show(choice.delta, s1);
  }

  show(delta, { event, phase, round, ids }) {
    const isAnswer = event === "answer" || event === "answer_opened" || phase === "answer";
    if (isAnswer && this.phase !== "answer") this.enter("answer", "Answering");
    if (!isAnswer && this.phase === "waiting") this.enter("thinking", "Thinking");
    if (round?.phase === "thinking") this.endRound(round);
    const text = isAnswer ? delta.content : delta.reasoning_content;
    if (text) this.write(isAnswer ? this.answer : this.thought, text, event === "injected");
    if (!isAnswer && ids) this.think(ids.length);
  }

  think(number) {
    this.tokens += number;
    drawSoon();
  }

  write(box, text, isInjected) {
    const shown = box.childNodes.length ? text : text.trimStart();
    if (isInjected) box.append(element("mark", "", shown));
    else if (box.lastChild instanceof Text) box.lastChild.appendData(shown);
    else if (shown) box.append(shown);
  }

  /** Keeps the end of the thought in sight, unless the reader has scrolled away from it. */
  follow() {
    const box = this.thought;
    if (box.scrollTop + box.clientHeight > this.height - 40) box.scrollTop = box.scrollHeight;
    this.height = box.scrollHeight;
  }

  endRound(round) {
    if (round.refused_for) this.refuse(round.refused_for);
    else this.end(CUTS[round.ended_by]);
  }

  refuse(reason) {
    this.ticks.push(this.tokens);
    const number = this.ticks.length;
    const of = reason === "num_ignore" ? `, ${number} of ${this.sent.num_ignore}` : ": too early";
    this.thought.append(element("span", "chip refused", `end refused${of}`));
    say(`${this.name}End refused${of}`);
  }

  /** `cut` says why the thought was cut; without it the model ended the thought. */
  end(cut) {
    if (this.hasEnd) return;
    this.hasEnd = true;
    if (this.thought.lastChild instanceof Text) this.thought.lastChild.data = this.thought.lastChild.data.trimEnd();
    if (this.thought.lastChild) this.thought.append("\n");
    this.thought.append(element("span", cut ? "chip cut" : "chip free", cut ?? "ended by itself"));
    drawSoon();
  }

  finish(report) {
    const end = report.finish_reason.thinking;
    this.tokens = report.usage.num_thinking_tokens;
    this.allowed = report.effective.max_thinking_tokens;
    this.end(CUTS[end] ?? (end === "natural" ? undefined : "no thinking"));
    this.account.textContent = accountOf(report, this.refusedAt);
    say(`${this.name}Done`);
    showWhatCanBeAsked(report.training);
    drawBars();
  }

  get refusedAt() {
    const places = this.ticks.length > 4 ? `${this.ticks.length} times` : `at ${this.ticks.map(count).join(", ")}`;
    return this.ticks.length ? `, end refused ${places}` : "";
  }

  /** The tokens up to which the bar must reach. */
  get reach() {
    const isOpen = this.budget === undefined && this.phase === "thinking"; // room to grow
    return Math.max(isOpen ? 1.2 * this.tokens : this.tokens, (this.budget ?? 0) + this.grace);
  }

  get grace() {
    return this.budget === undefined ? 0 : (settings().grace_tokens ?? 0);
  }

  drawBar(scale) {
    const { budget } = this;
    const percent = (number) => `${(100 * number) / scale}%`;
    const place = (part, start, length) => { [part.style.left, part.style.width] = [percent(start), percent(length)]; };
    const [track, grace, fill, limit] = this.bar.children;
    place(track, 0, budget ?? scale);
    place(grace, budget ?? 0, this.grace);
    place(fill, 0, this.tokens);
    limit.style.left = `max(3px, ${percent(budget ?? 0)})`;
    limit.hidden = budget === undefined;
    for (const old of this.bar.querySelectorAll(".tick")) old.remove();
    for (const tokens of this.ticks) {
      const tick = element("div", "tick");
      tick.style.left = percent(tokens);
      this.bar.append(tick);
    }
    this.describe(budget);
  }

  describe(budget) {
    const free = this.allowed ? `of ${plural(this.allowed, "token")} that fit` : "tokens, no limit";
    this.counted.textContent = count(this.tokens);
    this.ofBudget.textContent = budget === undefined ? free : `of ${plural(budget, "token")}`;
    this.bar.setAttribute("aria-valuemax", Math.max(budget ?? 0, this.tokens, 1));
    this.bar.setAttribute("aria-valuenow", this.tokens);
    this.bar.setAttribute("aria-valuetext", `${count(this.tokens)} ${this.ofBudget.textContent}${this.refusedAt}`);
  }
}

/** All bars have one scale, so that they can be compared. */
function drawBars() {
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

function add(budget, refusals) {
  const lane = new Lane(budget, refusals);
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
  lanes.forEach((lane, index) => lane.rename(index + 1));
  byId("lanes").dataset.count = lanes.length;
  byId("add").hidden = lanes.length === MAX_LANES;
  byId("which").hidden = lanes.length === 1;
  byId("lane-of-code").replaceChildren(...lanes.map((_, index) => new Option(`budget ${index + 1}`, index)));
  drawBars();
  showCode();
}

/** A reply's training record names s1-tiny. Of other models the page knows nothing. */
function showWhatCanBeAsked(training) {
  if (training?.dataset === "s1-tiny") byId("about").hidden = false;
}

// --- what the buttons do ---

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

// --- the curve ---

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

async function drawCurve(signal) {
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

// --- the request as code ---

const shellWord = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const api = () => new URL("v1", document.baseURI).href;

function asCurl(fields) {
  const key = byId("key").value ? '  -H "Authorization: Bearer $OPENAI_API_KEY" \\\n' : "";
  const body = JSON.stringify({ model, messages: question(), stream: true, ...fields }, null, 2);
  return `curl -N ${api()}/chat/completions -H 'Content-Type: application/json' \\\n${key}  -d ${shellWord(body)}`;
}

function asPython({ seed, temperature, ...others }) {
  const named = Object.entries({ seed, temperature }).filter(([, value]) => value !== undefined);
  return `from openai import OpenAI

client = OpenAI(base_url=${JSON.stringify(api())}${byId("key").value ? "" : ', api_key="none"'})
stream = client.chat.completions.create(
    model=${JSON.stringify(model)},
    messages=[{"role": "user", "content": ${JSON.stringify(question()[0].content)}}],
    stream=True,
${named.map(([name, value]) => `    ${name}=${value},\n`).join("")}    extra_body=${JSON.stringify(others).replaceAll('":', '": ').replaceAll(',"', ', "')},
)
for chunk in stream:
    delta = chunk.choices[0].delta
    print(getattr(delta, "reasoning_content", None) or delta.content or "", end="", flush=True)
print()`;
}

function asCommand({ max_answer_tokens: answer, ...others }) {
  const options = Object.entries({ ...others, ...(answer ? { max_tokens: answer } : {}) });
  const words = options.map(([name, value]) => ` \\\n  --${name.replaceAll("_", "-")}=${typeof value === "number" ? value : shellWord(value)}`);
  const text = question()[0].content;
  return `s1 ask${model === "s1" ? "" : ` --model=${shellWord(model)}`}${words.join("")} \\\n  -- ${shellWord(text)}`;
}

const CODES = [
  ["curl", asCurl],
  ["Python, with the package openai", asPython],
  ["s1 ask, which speaks to the server's gRPC port (S1_URL, or --url HOST:8001)", asCommand],
];

function showCode() {
  const lane = lanes[Number(byId("lane-of-code").value)] ?? lanes[0];
  if (!lane) return;
  const texts = CODES.map(([, render]) => render(lane.fields));
  if (!byId("code").firstChild) byId("code").append(...CODES.map(codeBox));
  byId("code").querySelectorAll("pre").forEach((box, index) => { box.textContent = texts[index]; });
}

function codeBox([title]) {
  const [box, head, code, button] = [element("div", "code"), element("div"), element("pre"), element("button", "", "Copy")];
  code.tabIndex = 0;
  code.setAttribute("role", "region");
  code.setAttribute("aria-label", title);
  button.type = "button";
  button.setAttribute("aria-label", `Copy: ${title}`);
  button.addEventListener("click", () => copy(code));
  head.append(element("h3", "", title), button);
  box.append(head, code);
  return box;
}

/** Only pages of a safe origin may write to the clipboard: elsewhere the text is selected. */
async function copy(code) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    say("Copied");
  } catch {
    getSelection().selectAllChildren(code);
    say("Selected; copy it with the keyboard");
  }
}

// --- start ---

async function findModel() {
  try {
    const { data: [{ id }] } = await (await call("v1/models")).json();
    model = id;
    byId("model").textContent = `model ${id} at ${api()}`;
    say("");
  } catch (error) {
    say(sentence(error));
  }
  showCode();
}

byId("ask").addEventListener("submit", (event) => { event.preventDefault(); ask(); });
byId("ask").addEventListener("input", () => { drawBars(); showCode(); });
byId("curve").addEventListener("submit", (event) => { event.preventDefault(); if (!running) run(drawCurve); });
byId("now").addEventListener("click", answerNow);
byId("stop").addEventListener("click", stop);
byId("add").addEventListener("click", () => add(undefined, 0).budgetInput.focus());
byId("lane-of-code").addEventListener("change", showCode);
byId("key").addEventListener("change", findModel);
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
addEventListener("resize", () => { if (shownPoints.length) showCurve(shownPoints); });

for (const budget of matchMedia("(min-width: 62rem)").matches ? [0, undefined] : []) add(budget, 0);
add(undefined, 1);
refresh();
findModel();
