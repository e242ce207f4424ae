// DuckDB reads what an export has written.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { test } from "node:test";
import { DuckDBInstance } from "@duckdb/node-api";
import { character, get, post, roleChat, until } from "./stack.mjs";

const columns = ["messageId", "chatId", "sessionId", "characterId", "userId", "messageType", "content", "rating", "gmtCreate", "time"];

// exported runs an export to its end, and returns its manifest and the files of its parts.
async function exported(folder, spec) {
  const started = await post("/v1/exports", spec);
  assert.equal(started.status, 202, started.status === 202 ? "" : await started.text());
  const path = started.headers.get("location");
  const state = await until("the export has ended", async () => {
    const now = await (await get(path)).json();
    return !["queued", "running"].includes(now.state) && now;
  });
  assert.equal(state.state, "done", JSON.stringify(state));
  const manifest = await (await get(`${path}/files/${state.manifest}`)).json();
  const files = [];
  for (const part of manifest.parts) {
    const bytes = Buffer.from(await (await get(`${path}/files/${part.path}`)).arrayBuffer());
    assert.equal(createHash("sha256").update(bytes).digest("hex"), part.sha256);
    files.push(join(folder, basename(part.path)));
    await writeFile(files.at(-1), bytes);
  }
  return { manifest, files };
}

test("CSV, JSON lines and their compressed forms hold the same rows", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "xinghe-export-"));
  const database = await DuckDBInstance.create(":memory:");
  const connection = await database.connect();
  t.after(async () => {
    connection.closeSync();
    database.closeSync();
    await rm(folder, { recursive: true });
  });
  const query = async (sql) => (await connection.runAndReadAll(sql)).getRowObjectsJson();

  const questions = ["=1+1", "@SUM(A1)", "-3", "他说:\"你好\",\n然后走了", "多大"];
  for (const question of questions) assert.equal((await post("/v2/api/chat/send", roleChat("export-1", question))).status, 200);
  const spec = (format, compression) => ({
    name: `duckdb-${format}-${compression}`, characters: [character], users: ["export-1"], format, compression,
    from: new Date(Date.now() - 3_600_000).toISOString(), to: new Date(Date.now() + 1000).toISOString(),
  });

  const { manifest, files } = await exported(folder, spec("csv", "none"));
  const csv = await query(`SELECT * FROM read_csv(${list(files)}, header = true, all_varchar = true)`);
  assert.equal(csv.length, manifest.rows);
  assert.equal(csv.length, 1 + 2 * questions.length);
  // The byte order mark has not become part of a name.
  assert.deepEqual(Object.keys(csv[0]), columns);
  const asked = csv.filter((row) => row.messageType === "user").map((row) => row.content);
  assert.deepEqual(asked, questions.map((text) => (/^[=+\-@]/.test(text) ? `'${text}` : text)));
  assert.ok(csv.every((row) => row.userId === "export-1" && Date.parse(row.time) === Number(row.gmtCreate)));

  const typed = await query(`SELECT typeof("gmtCreate") AS millis, typeof("time") AS time FROM read_csv(${list(files)}) LIMIT 1`);
  assert.deepEqual(typed, [{ millis: "BIGINT", time: "TIMESTAMP WITH TIME ZONE" }]);

  for (const [format, compression] of [["csv", "gzip"], ["jsonl", "none"], ["jsonl", "zstd"]]) {
    const other = await exported(folder, spec(format, compression));
    const read = format === "csv" ? "read_csv(%, header = true, all_varchar = true)" : "read_json(%)";
    const rows = await query(`SELECT "messageId", "content" FROM ${read.replace("%", list(other.files))}`);
    const guarded = (text) => (format !== "csv" && /^[=+\-@]/.test(text) ? `'${text}` : text);
    assert.deepEqual(rows.map((row) => [row.messageId, guarded(row.content)]), csv.map((row) => [row.messageId, row.content]), `${format}, ${compression}`);
  }
});

const list = (files) => `[${files.map((file) => `'${file.replaceAll("'", "''")}'`).join(", ")}]`;
