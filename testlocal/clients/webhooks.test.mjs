// Standard Webhooks' own package: what it signs is taken, and what is delivered it verifies.
import assert from "node:assert/strict";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { test } from "node:test";
import { Webhook } from "standardwebhooks";
import { character, post, roleChat, until, url } from "./stack.mjs";

const { XINGHE_WEBHOOKS_FILE: file, XINGHE_WEBHOOK_SECRET: secret } = process.env;
const hook = new Webhook(secret);

// deliver sends a body as it is, signed for a moment.
const deliver = (id, body, { at = new Date(), sent = body, signer = hook } = {}) =>
  fetch(`${url}/v1/webhooks/orders`, {
    method: "POST",
    headers: {
      "Content-Type": "application/json", "webhook-id": id,
      "webhook-timestamp": `${Math.floor(at / 1000)}`, "webhook-signature": signer.sign(id, at, body),
    },
    body: sent,
  });

const shipped = JSON.stringify({ type: "order.shipped", data: { order: "2026-0301", customer: 7001 } });

test("what the package signs is carried out, once", async () => {
  const first = await deliver("msg_1", shipped);
  assert.equal(first.status, 200);
  assert.deepEqual(await first.json(), { source: "orders", id: "msg_1", action: "reminder" });
  assert.equal((await deliver("msg_1", shipped)).status, 409);
  const history = { where: { characterId: character, bizUserId: "7001", startTime: 1 }, pageSize: 10 };
  const { data } = await (await post("/v2/api/chat/message/histories", history)).json();
  const said = JSON.stringify(data).split("您的订单 2026-0301 已经发货了。").length - 1;
  assert.equal(said, 1);
});

test("what it has not signed so is refused", async () => {
  const ago = (minutes) => new Date(Date.now() - minutes * 60_000);
  const stranger = new Webhook(`whsec_${Buffer.alloc(32, 7).toString("base64")}`);
  for (const [id, options] of Object.entries({
    old: { at: ago(6) }, new: { at: ago(-6) }, tampered: { sent: `${shipped} ` }, stranger: { signer: stranger },
  })) {
    const answer = await deliver(id, shipped, options);
    assert.equal(answer.status, 401, id);
    assert.equal(answer.headers.get("content-type"), "application/problem+json");
  }
});

test("what is delivered to a subscriber is signed for the package", async (t) => {
  const got = [];
  const server = createServer(async (request, response) => {
    const pieces = [];
    for await (const piece of request) pieces.push(piece);
    got.push({ headers: request.headers, body: Buffer.concat(pieces).toString() });
    response.end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const target = { name: "node", url: `http://127.0.0.1:${server.address().port}/events`, types: ["chat.completed", "webhook.*"], secrets: [secret] };
  await writeFile(file, JSON.stringify([target]));
  let asked = 0;
  // Deliveries begin when the file has been read again; what was published before is not for us.
  await until("something is delivered", async () => {
    assert.equal((await post("/v2/api/chat/send", roleChat(`webhooks-${++asked}`, "你好"))).status, 200);
    return got.length > 0;
  });
  assert.equal((await deliver("msg_2", JSON.stringify({ type: "order.paid", data: {} }))).status, 202);
  const isOurs = ({ body }) => JSON.parse(body).type === "xinghe.webhook.received";
  await until("the webhook is delivered", () => got.some(isOurs));
  for (const { headers, body } of got) {
    const event = hook.verify(body, headers);
    assert.equal(event.specversion, "1.0");
    assert.match(event.type, /^xinghe\.(chat|webhook)\./);
    assert.throws(() => hook.verify(body.replace("xinghe", "xingha"), headers));
  }
  const { data } = JSON.parse(got.find(isOurs).body);
  assert.deepEqual([data.source, data.id, data.body.type], ["orders", "msg_2", "order.paid"]);
});
