// OpenAI's own client, with nothing changed but address and key.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
import { character, emulator, key, misbehave, robot, upstream, url } from "./stack.mjs";

const send = "/v2/api/chat/send";
const model = `character:${character}`;
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 });
const ask = (content, more = {}) => ({ model, messages: [{ role: "user", content }], ...more });

// chunks reads a stream to its end.
async function chunks(stream) {
  const list = [];
  for await (const chunk of stream) list.push(chunk);
  return list;
}

const textOf = (list) => list.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");

test("whole and streamed are the same answer", async () => {
  const whole = await client.chat.completions.create(ask("你今年多大", { seed: 7, user: "openai-whole" }));
  const [choice] = whole.choices;
  assert.equal(choice.message.content, "我今年17岁了,很快就要步入大学了。");
  assert.equal(choice.message.role, "assistant");
  assert.equal(choice.finish_reason, "stop");
  assert.match(whole.id, /^chatcmpl-[0-9a-f]{32}$/);
  assert.match(whole._request_id, /^req_/);
  assert.equal(whole.usage.total_tokens, whole.usage.prompt_tokens + whole.usage.completion_tokens);
  assert.ok(whole.usage.completion_tokens > 0);

  const list = await chunks(await client.chat.completions.create(ask("你今年多大", { seed: 7, user: "openai-stream", stream: true })));
  assert.ok(list.length > 3, `${list.length} chunks`);
  assert.equal(textOf(list), choice.message.content);
  assert.equal(list[0].choices[0].delta.role, "assistant");
  assert.deepEqual(list.map((chunk) => chunk.choices[0].finish_reason), [...Array(list.length - 1).fill(null), "stop"]);
  assert.ok(list.every((chunk) => chunk.id === list[0].id && chunk.model === model && !chunk.usage));
});

test("usage comes in a chunk of its own, if asked for", async () => {
  const list = await chunks(await client.chat.completions.create(ask("你今年多大", { user: "openai-usage", stream: true, stream_options: { include_usage: true } })));
  const last = list.pop();
  assert.deepEqual(last.choices, []);
  assert.ok(last.usage.prompt_tokens > 0 && last.usage.completion_tokens > 0);
  assert.ok(list.every((chunk) => chunk.usage === null && chunk.choices.length === 1));
});

test("the client's own gatherer of streams", async () => {
  const stream = client.chat.completions.stream(ask("写60字", { user: "openai-gather", stream_options: { include_usage: true } }));
  let text = "";
  stream.on("content", (delta) => (text += delta));
  const whole = await stream.finalChatCompletion();
  assert.equal([...text].length, 60);
  assert.equal(whole.choices[0].message.content, text);
  assert.ok(whole.usage.total_tokens > 0);
});

test("a conversation that the client carries, with a scene", async () => {
  const messages = [
    { role: "system", content: "我是小明,是小婉邻居。" }, { role: "user", content: "你今年多大" },
    { role: "assistant", content: "我今年17岁了。", refusal: null }, { role: "user", content: [{ type: "text", text: "你有几个闺蜜?" }] },
  ];
  const { choices } = await client.chat.completions.create({ model, messages, n: 2, user: "openai-carried" });
  assert.equal(choices.length, 2);
  assert.ok(choices.every((choice) => choice.message.content));
});

test("models", async () => {
  const ids = [];
  for await (const each of client.models.list()) ids.push(each.id);
  for (const id of [model, `beebot:${robot}`, "xingchen-plus-v2"]) assert.ok(ids.includes(id), `${id} is not in ${ids}`);
  const one = await client.models.retrieve(model);
  assert.equal(one.name, "小婉");
  assert.equal(one.owned_by, "xingchen");
});

test("errors have their types", async (t) => {
  const refused = async (promise, type, status, fields) => {
    const error = await promise.then(() => assert.fail("it was not refused"), (error) => error);
    assert.ok(error instanceof type, `${error.constructor.name}: ${error.message}`);
    assert.equal(error.status, status);
    assert.match(error.requestID, /^req_/);
    for (const [name, value] of Object.entries(fields)) assert.equal(error[name], value, name);
    return error;
  };
  await t.test("401", () =>
    refused(new OpenAI({ baseURL: `${url}/v1`, apiKey: "nope" }).models.list(), OpenAI.AuthenticationError, 401, { type: "authentication_error", code: "unauthorized" }));
  await t.test("400", async () => {
    const error = await refused(client.chat.completions.create(ask("x", { temperature: 3, logprobs: true })), OpenAI.BadRequestError, 400, { type: "invalid_request_error", code: "invalid_field", param: "logprobs" });
    assert.match(error.message, /temperature: must be between 0 and 2/);
  });
  await t.test("404", () =>
    refused(client.chat.completions.create({ ...ask("x"), model: "gpt-4" }), OpenAI.NotFoundError, 404, { param: "model" }));
  await t.test("404 from upstream, before a stream", () =>
    refused(client.chat.completions.create({ ...ask("x"), model: "character:nobody", stream: true }), OpenAI.NotFoundError, 404, { code: "not_found" }));
  await t.test("502", async () => {
    await misbehave({ route: send, user: "openai-502", fault: "500" });
    await refused(client.chat.completions.create(ask("x", { user: "openai-502" })), OpenAI.InternalServerError, 502, { type: "api_error", code: "upstream_error" });
  });
  await t.test("429", async () => {
    await misbehave({ route: send, user: "openai-429", fault: "throttle", retryAfter: "1s", times: 2 });
    const error = await refused(client.chat.completions.create(ask("x", { user: "openai-429" })), OpenAI.RateLimitError, 429, { type: "rate_limit_error", code: "rate_limited" });
    assert.equal(error.headers.get("retry-after"), "1");
  });
  await t.test("429, and the client tries again", async () => {
    const { choices } = await client.chat.completions.create(ask("你今年多大", { user: "openai-429" }), { maxRetries: 5 });
    assert.match(choices[0].message.content, /17岁/);
  });
});

test("a stream that breaks off is an error", async () => {
  for (const [fault, code] of [["cut", "upstream_truncated"], ["reset", "upstream_truncated"], ["event-error", "upstream_error"]]) {
    await misbehave({ route: send, user: `openai-${fault}`, fault, atFrame: 9 });
    const stream = await client.chat.completions.create(ask("写60字", { user: `openai-${fault}`, stream: true }));
    const seen = [];
    const error = await (async () => {
      for await (const chunk of stream) seen.push(chunk);
    })().then(() => assert.fail(`${fault}: it ended as if all were well`), (error) => error);
    assert.ok(error instanceof OpenAI.APIError, `${fault}: ${error}`);
    assert.equal(error.code, code, fault);
    assert.ok(textOf(seen).length > 0, fault);
    assert.ok(seen.every((chunk) => chunk.choices[0].finish_reason === null), fault);
  }
});

test("to abort a stream ends it upstream", async () => {
  await misbehave({ route: send, user: "openai-abort", fault: "stall", atFrame: 9 });
  const stream = await client.chat.completions.create(ask("写60字", { user: "openai-abort", stream: true }));
  let seen = 0;
  for await (const chunk of stream) {
    if (!chunk.choices[0].delta.content || ++seen > 1) continue; // what had come already is handed out after the abort, too
    const request = (await (await fetch(`${emulator}/_emulator/requests`)).json()).requests.find((each) => each.user === "openai-abort");
    assert.ok(!request?.done, "upstream is done, so that there is nothing to abort");
    stream.controller.abort();
  }
  assert.ok(seen > 0);
  // It stalls for as long as somebody listens.
  await upstream("openai-abort");
  // The user's turn is over, too.
  await misbehave();
  const { choices } = await client.chat.completions.create(ask("你今年多大", { user: "openai-abort" }));
  assert.match(choices[0].message.content, /17岁/);
});

test("a robot, and its session", async () => {
  const question = { model: `beebot:${robot}`, messages: [{ role: "user", content: "你有什么技能?" }], user: "openai-robot" };
  const { data: first, response } = await client.chat.completions.create(question).withResponse();
  assert.ok(first.session_id);
  assert.equal(response.headers.get("x-session-id"), first.session_id);
  assert.ok(first.choices[0].message.content);
  assert.equal(first.usage.incomplete, true);

  const list = await chunks(await client.chat.completions.create({ ...question, stream: true, metadata: { session_id: first.session_id } }));
  assert.equal(list[0].session_id, first.session_id);
  assert.equal(textOf(list), first.choices[0].message.content);
  await assert.rejects(client.chat.completions.create({ ...question, seed: 1 }), { status: 400, param: "seed" });
});
