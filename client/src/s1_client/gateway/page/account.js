// SPDX-License-Identifier: Apache-2.0
// The words for what the server reports about a reply.

import { count, plural } from "./dom.js";

export const CUTS = {
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

export function accountOf({ usage, finish_reason: ends, rounds, total_ms: ms, engine_time_to_first_token_ms: first }, refusedAt) {
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
