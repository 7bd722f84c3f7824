// SPDX-License-Identifier: Apache-2.0
// Requests of the gateway's chat API, and what the form above all budgets says about them.

import { byId, numberIn, say } from "./dom.js";

export const CHAT = "v1/chat/completions"; // relative: the gateway may stand behind a path of a proxy
export const api = () => new URL("v1", document.baseURI).href;
export let model = "s1";

/** The settings that all budgets share, as fields of the request; those that are left empty are the server's. */
export function settings() {
  const inputs = byId("settings").querySelectorAll("input[name]");
  const pairs = [...inputs].map((input) => [input.name, input.type === "number" ? numberIn(input) : input.value || undefined]);
  return Object.fromEntries(pairs.filter(([, value]) => value !== undefined));
}

export function question() {
  return [{ role: "user", content: byId("question").value }];
}

/** Throws an Error with a sentence for the reader if the gateway refuses, or cannot be reached. */
export async function call(path, body, signal) {
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

export function sentence(error) {
  return error instanceof TypeError ? "The gateway cannot be reached." : error.message;
}

/** Yields the chunks of a streamed reply. Throws an Error if the stream fails or breaks off. */
export async function* chunksOf(response) {
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

export async function findModel() {
  try {
    const { data: [{ id }] } = await (await call("v1/models")).json();
    model = id;
    byId("model").textContent = `model ${id} at ${api()}`;
    say("");
  } catch (error) {
    say(sentence(error));
  }
}
