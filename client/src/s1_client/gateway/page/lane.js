// SPDX-License-Identifier: Apache-2.0
// A budget and its reply: the inputs, the thought as it comes, the bar of its tokens, and the account.

import { CUTS, accountOf } from "./account.js";
import { byId, changed, count, element, numberIn, plural, say } from "./dom.js";
import { CHAT, call, chunksOf, model, question, sentence, settings } from "./request.js";

export class Lane {
  constructor({ budget, refusals, remove, drawSoon }) {
    this.root = byId("lane").content.firstElementChild.cloneNode(true);
    const part = (selector) => this.root.querySelector(selector);
    [this.budgetInput, this.refusalsInput] = [part("[name=budget]"), part("[name=refusals]")];
    [this.bar, this.thought, this.answer] = [part(".bar"), part(".thought"), part(".answer p")];
    [this.counted, this.ofBudget, this.account] = [part(".count b"), part(".count span"), part(".account")];
    [this.budgetInput.value, this.refusalsInput.value] = [budget ?? "", refusals];
    part(".remove").addEventListener("click", () => remove(this));
    this.drawSoon = drawSoon;
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

  /** `number` of `total`, from 1. */
  rename(number, total) {
    this.name = total > 1 ? `Budget ${number}: ` : "";
    const title = total > 1 ? `Budget ${number}` : "One budget";
    this.root.querySelector("h2").textContent = title;
    this.thought.setAttribute("aria-label", `Thought, ${title}`);
    this.bar.setAttribute("aria-label", `Thinking tokens, ${title}`);
    const button = this.root.querySelector(".remove");
    button.setAttribute("aria-label", `Remove budget ${number}`);
    button.hidden = total === 1;
  }

  reset() {
    if (this.phase === "waiting" || this.phase === "thinking" || this.phase === "answer") return;
    [this.id, this.phase, this.tokens, this.ticks, this.hasEnd, this.allowed, this.height] = [null, "idle", 0, [], false, null, 0];
    for (const part of [this.thought, this.answer, this.account]) part.textContent = "";
    changed();
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
    changed();
  }

  enter(phase, announcement) {
    this.phase = phase;
    this.root.classList.add("running");
    this.root.classList.toggle("answering", phase === "answer");
    if (announcement) say(this.name + announcement);
    changed();
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
    this.drawSoon();
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
    this.drawSoon();
  }

  finish(report) {
    const end = report.finish_reason.thinking;
    this.tokens = report.usage.num_thinking_tokens;
    this.allowed = report.effective.max_thinking_tokens;
    this.end(CUTS[end] ?? (end === "natural" ? undefined : "no thinking"));
    this.account.textContent = accountOf(report, this.refusedAt);
    say(`${this.name}Done`);
    showWhatCanBeAsked(report.training);
    changed();
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

/** A reply's training record names s1-tiny. Of other models the page knows nothing. */
function showWhatCanBeAsked(training) {
  if (training?.dataset === "s1-tiny") byId("about").hidden = false;
}
