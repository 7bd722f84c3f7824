// SPDX-License-Identifier: Apache-2.0
// Calls of a gateway by openai for npm and by Vercel's AI SDK, unchanged. Prints a JSON object: scenario -> what the client showed.
//
//     node npm_program.mjs FOLDER_OF_NODE_MODULES http://127.0.0.1:8080/v1

import { createRequire } from "node:module";

const [, , folder, baseURL] = process.argv;
const require = createRequire(`${folder}/`);
const { OpenAI } = require("openai");
const { generateText, streamText } = require("ai");
const { createOpenAICompatible } = require("@ai-sdk/openai-compatible");
const { createOpenAI } = require("@ai-sdk/openai");

const client = new OpenAI({ baseURL, apiKey: "none" });
const question = (content) => ({ model: "s1", messages: [{ role: "user", content }] });
const compatible = createOpenAICompatible({ name: "s1", baseURL, apiKey: "none", includeUsage: true })("s1");
const responses = createOpenAI({ baseURL, apiKey: "none" }).responses("s1");

async function openaiChat() {
  const stream = await client.chat.completions.create({
    ...question("npm"), stream: true, stream_options: { include_usage: true }, num_ignore: 2, thinking_token_budget: 100,
  });
  let [thought, answer, usage] = ["", "", null];
  for await (const { choices: [choice], usage: counted } of stream) {
    thought += choice?.delta.reasoning_content ?? "";
    answer += choice?.delta.content ?? "";
    usage = counted ?? usage;
  }
  return { thought, answer, reasoning: usage.completion_tokens_details.reasoning_tokens };
}

async function openaiResponses() {
  const kinds = new Set();
  let text = "";
  for await (const event of await client.responses.create({ model: "s1", input: "npm", stream: true, num_ignore: 0 })) {
    kinds.add(event.type);
    if (event.type === "response.reasoning_text.delta") text += event.delta;
  }
  return { text, isComplete: kinds.has("response.completed") };
}

async function openaiErrors() {
  const fails = async (body) => {
    try {
      await client.chat.completions.create(body);
    } catch (error) {
      return [error.constructor.name, error.status, error.param, error.code];
    }
    return "no error";
  };
  return { refused: await fails({ ...question("npm"), num_ignor: 1 }), failed: await fails(question("npm engine failed")) };
}

/** Both turns of a chat: the second sends the first's thought back, as the SDK does by itself. */
async function aiChat() {
  const messages = [{ role: "user", content: "npm" }];
  const first = streamText({ model: compatible, messages, providerOptions: { s1: { num_ignore: 1, thinking_token_budget: 100 } } });
  let [thought, answer] = ["", ""];
  for await (const part of first.fullStream) {
    if (part.type === "reasoning-delta") thought += part.text;
    if (part.type === "text-delta") answer += part.text;
  }
  const second = await generateText({
    model: compatible, messages: [...messages, ...(await first.response).messages, { role: "user", content: "npm again" }],
  });
  return { thought, answer, reasoning: (await first.usage).outputTokenDetails.reasoningTokens, again: second.text };
}

async function aiResponses() {
  const options = { openai: { reasoningSummary: "auto", forceReasoning: true, store: false } };
  const whole = await generateText({ model: responses, prompt: "npm", providerOptions: options });
  let thought = "";
  for await (const part of streamText({ model: responses, prompt: "npm", providerOptions: options }).fullStream) {
    if (part.type === "reasoning-delta") thought += part.text;
  }
  return { thought: whole.reasoningText, streamed: thought, answer: whole.text };
}

const scenarios = { openaiChat, openaiResponses, openaiErrors, aiChat, aiResponses };
const seen = {};
for (const [name, scenario] of Object.entries(scenarios)) seen[name] = await scenario();
console.log(JSON.stringify(seen));
