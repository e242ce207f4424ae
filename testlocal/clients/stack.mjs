// Where the stack is that the tests run against, and what more than one of them does there.
import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";

export const { XINGHE_URL: url, XINGHE_KEY: key, XINGHE_EMULATOR_URL: emulator } = process.env;

// The documentation's examples, with which the emulator is born.
export const character = "c39797a35ad243f1a85baaa6e1ec37e0";
export const robot = "chatbot-cn-local";

const headers = { "Authorization": `Bearer ${key}`, "Content-Type": "application/json" };

export const get = (path, more = {}) => fetch(url + path, { headers: { ...headers, ...more } });

export const post = (path, body, more = {}) =>
  fetch(url + path, { method: "POST", headers: { ...headers, ...more }, body: JSON.stringify(body) });

// roleChat is the body of a role chat.
export const roleChat = (user, content, parameters = {}) => ({
  input: {
    messages: [{ role: "user", content }],
    aca: { botProfile: { characterId: character }, userProfile: { userId: user } },
  },
  parameters,
});

// misbehave has the emulator break the requests of a user.
export async function misbehave(...rules) {
  const answer = await fetch(`${emulator}/_emulator/faults`, { method: "PUT", body: JSON.stringify({ seed: 1, rules }) });
  assert.equal(answer.status, 200, await answer.text());
}

// until asks again and again, for at most 20 s.
export async function until(what, met) {
  for (const deadline = Date.now() + 20_000; Date.now() < deadline; await pause(20)) {
    const found = await met();
    if (found) return found;
  }
  assert.fail(`20 s have passed and it is not so that ${what}`);
}

// upstream waits until the emulator is done with a request of a user, and returns it.
export const upstream = (user) =>
  until(`upstream is done with a request of ${user}`, async () => {
    const { requests } = await (await fetch(`${emulator}/_emulator/requests`)).json();
    return requests.find((request) => request.user === user && request.done);
  });
