// SPDX-License-Identifier: Apache-2.0
// The request of a budget as a command line and as a program.

import { byId, element, say } from "./dom.js";
import { lanes } from "./lanes.js";
import { api, model, question } from "./request.js";

const shellWord = (text) => `'${text.replaceAll("'", "'\\''")}'`;

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

export function showCode() {
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
