// A reader of Server-Sent Events that knows nothing of us, on each of our own streams.
import assert from "node:assert/strict";
import { test } from "node:test";
import { EventSourceParserStream } from "eventsource-parser/stream";
import { character, get, misbehave, post, robot, roleChat } from "./stack.mjs";

// events reads a stream to its end. What the reader does not understand is an error.
async function events(response) {
  assert.equal(response.status, 200, response.status === 200 ? "" : await response.text());
  assert.match(response.headers.get("content-type"), /^text\/event-stream/);
  const list = [];
  const parser = new EventSourceParserStream({ onError: "terminate" });
  for await (const { event, id, data } of response.body.pipeThrough(new TextDecoderStream()).pipeThrough(parser))
    list.push({ event, id, data: JSON.parse(data) });
  return list;
}

const said = ({ data }) => data.choices[0].messages[0].content;

test("Xingchen's stream", async () => {
  const streamed = { "X-AcA-SSE": "enable" };
  const cumulative = await events(await post("/v2/api/chat/send", roleChat("events-1", "你今年多大"), streamed));
  assert.deepEqual(cumulative.map(({ data }) => data.stop), [...Array(cumulative.length - 1).fill(false), true]);
  assert.equal(said(cumulative.at(-1)), "我今年17岁了,很快就要步入大学了。");
  const pieces = await events(await post("/v2/api/chat/send", roleChat("events-2", "你今年多大", { incrementalOutput: true }), streamed));
  assert.ok(pieces.length > 2);
  assert.equal(pieces.map(said).join(""), said(cumulative.at(-1)));

  await misbehave({ route: "/v2/api/chat/send", user: "events-3", fault: "cut", atFrame: 9 });
  const broken = await events(await post("/v2/api/chat/send", roleChat("events-3", "写60字"), streamed));
  const last = broken.pop();
  assert.equal(last.event, "error");
  assert.equal(last.data.success, false);
  assert.ok(broken.length > 2 && broken.every(({ event, data }) => event === undefined && !data.stop));
});

test("a robot's stream", async () => {
  const list = await events(await post(`/v1/beebot/${robot}/chat`, { utterance: "你有什么技能?", stream: true }));
  const done = list.pop();
  assert.equal(done.event, "done");
  assert.equal(done.data.end, true);
  assert.ok(list.length > 2 && list.every(({ event }) => event === "delta"));
  assert.equal(list.map(({ data }) => data.text).join(""), done.data.text);

  await misbehave({ route: "/sse/paas4Json*", fault: "cut", atFrame: 9 });
  const broken = await events(await post(`/v1/beebot/${robot}/chat`, { utterance: "你有什么技能?", stream: true }));
  await misbehave();
  const { event, data } = broken.pop();
  assert.deepEqual({ event, status: data.status, code: data.code }, { event: "error", status: 502, code: "upstream_truncated" });
});

test("a robot's own stream, at an address of one's own", async () => {
  const { url, expiresAt, body } = await (await post(`/v1/beebot/${robot}/stream-access`, { senderId: "events-visitor" })).json();
  assert.ok(Date.parse(expiresAt) > Date.now());
  const [item] = body.data;
  item.value = JSON.stringify({ ...JSON.parse(item.value), Utterance: "你有什么技能?" });
  const answer = await fetch(url, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  const frames = (await events(answer)).map(({ data }) => JSON.parse(data.data[0].value));
  assert.ok(frames.length > 2);
  assert.deepEqual(frames.map((frame) => frame.StreamEnd), [...Array(frames.length - 1).fill(false), true]);
  assert.ok(frames.at(-1).MessageBody.DirectMessageBody.SentenceList[0].Content);
});

test("the events of an export", async () => {
  await post("/v2/api/chat/send", roleChat("events-4", "你好"));
  const spec = {
    name: "events", characters: [character], users: ["events-4"],
    from: new Date(Date.now() - 3_600_000).toISOString(), to: new Date(Date.now() + 1000).toISOString(),
  };
  const started = await post("/v1/exports", spec);
  assert.equal(started.status, 202);
  const path = `${started.headers.get("location")}/events`;
  const list = await events(await get(path));
  const done = list.at(-1);
  assert.equal(done.event, "done", JSON.stringify(done.data));
  assert.equal(done.data.progress.rows, 3); // the opening line, the question and the answer
  assert.ok(list.slice(0, -1).every(({ event }) => event === "progress"));
  const ids = list.map(({ id }) => Number(id));
  assert.deepEqual(ids, [...new Set(ids)].sort((a, b) => a - b));

  const again = await events(await get(path, { "Last-Event-ID": "0" }));
  assert.deepEqual(again.map(({ event }) => event), ["done"]);
  assert.equal((await get(path, { "Last-Event-ID": done.id })).status, 204);
});
