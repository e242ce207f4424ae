// DuckDB reads what an export has written.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
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
  const fetched = async (file) => {
    const bytes = Buffer.from(await (await get(`${path}/files/${file.path}`)).arrayBuffer());
    assert.equal(createHash("sha256").update(bytes).digest("hex"), file.sha256);
    const place = join(folder, file.path);
    await mkdir(dirname(place), { recursive: true });
    await writeFile(place, bytes);
    return place;
  };
  const files = [], indexes = [];
  for (const part of manifest.parts) {
    files.push(await fetched(part));
    if (part.index) indexes.push(await fetched(part.index));
  }
  return { manifest, files, indexes };
}

// opened is a folder that is gone after the test, and a way to query what lies in it.
async function opened(t) {
  const folder = await mkdtemp(join(tmpdir(), "xinghe-export-"));
  const database = await DuckDBInstance.create(":memory:");
  const connection = await database.connect();
  t.after(async () => {
    connection.closeSync();
    database.closeSync();
    await rm(folder, { recursive: true });
  });
  return { folder, query: async (sql) => (await connection.runAndReadAll(sql)).getRowObjectsJson() };
}

// lastHour is a spec of what a user has said within it.
const lastHour = (user, format, more = {}) => ({
  name: `duckdb-${format}`, characters: [character], users: [user], format,
  from: new Date(Date.now() - 3_600_000).toISOString(), to: new Date(Date.now() + 1000).toISOString(), ...more,
});

test("CSV, JSON lines and their compressed forms hold the same rows", async (t) => {
  const { folder, query } = await opened(t);

  const questions = ["=1+1", "@SUM(A1)", "-3", "他说:\"你好\",\n然后走了", "多大"];
  for (const question of questions) assert.equal((await post("/v2/api/chat/send", roleChat("export-1", question))).status, 200);
  const spec = (format, compression) => lastHour("export-1", format, { name: `duckdb-${format}-${compression}`, compression });

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

test("Parquet holds the rows of JSON lines, with types, divided by day", async (t) => {
  const { folder, query } = await opened(t);
  for (const question of ["=1+1", "他说:\"你好\",\n然后走了", "多大"]) assert.equal((await post("/v2/api/chat/send", roleChat("export-2", question))).status, 200);
  const partition = { by: ["character", "day"], timeZone: "Asia/Shanghai" };
  const plain = await exported(folder, lastHour("export-2", "jsonl"));
  const { manifest, files } = await exported(folder, lastHour("export-2", "parquet", { partition }));

  const parquet = `read_parquet(${list(files)}, hive_partitioning = true)`;
  const types = await query(`SELECT column_name AS name, column_type AS type FROM (DESCRIBE SELECT * FROM read_parquet(${list(files)}, hive_partitioning = false))`);
  assert.deepEqual(types.map(({ name }) => name), columns);
  assert.deepEqual(Object.fromEntries(types.map(({ name, type }) => [name, type])), {
    ...Object.fromEntries(columns.map((name) => [name, "VARCHAR"])), rating: "DOUBLE", gmtCreate: "BIGINT", time: "TIMESTAMP WITH TIME ZONE",
  });
  // Times, ratings and contents are those of the JSON lines, in sum and one by one.
  const sums = (from) => query(`SELECT count(*)::INT AS rows, count("rating")::INT AS rated, sum("gmtCreate")::VARCHAR AS millis,
    sum(epoch_ms("time"::TIMESTAMPTZ))::VARCHAR AS times, sum(strlen("content"))::INT AS bytes FROM ${from}`);
  const json = `read_json(${list(plain.files)}, format = 'newline_delimited')`;
  assert.deepEqual(await sums(parquet), await sums(json));
  const rows = (from) => query(`SELECT "messageId", "sessionId", "messageType", "content", "gmtCreate" FROM ${from} ORDER BY "gmtCreate", "messageId"`);
  assert.deepEqual(await rows(parquet), await rows(json));
  assert.equal((await rows(parquet)).length, manifest.rows);
  // The folders say the day in Shanghai.
  const days = await query(`SELECT DISTINCT "day"::VARCHAR AS day, "character", strftime(make_timestamp("gmtCreate" * 1000) + INTERVAL 8 HOUR, '%Y-%m-%d') AS is FROM ${parquet}`);
  assert.ok(days.length > 0 && days.every((row) => row.day === row.is && row.character === character), JSON.stringify(days));
  assert.ok(manifest.parts.every((part) => part.path.includes(`/character=${character}/day=${part.partition.day}/`)));
});

test("dialogues to tune models with are whole, and without phone numbers", async (t) => {
  const { folder, query } = await opened(t);
  for (const question of ["打我电话 138-0013-8000", "多大", "再见"]) assert.equal((await post("/v2/api/chat/send", roleChat("export-3", question))).status, 200);
  const plain = await exported(folder, lastHour("export-3", "jsonl"));
  const ids = (await query(`SELECT "messageId" FROM read_json(${list(plain.files)}) ORDER BY 1`)).map((row) => row.messageId);
  for (const [format, turns] of [["openai-chat", "messages"], ["sharegpt", "conversations"]]) {
    const { manifest, files, indexes } = await exported(folder, lastHour("export-3", format, { redact: { kinds: ["phone"] } }));
    const leftOut = Object.values(manifest.leftOut ?? {}).reduce((sum, count) => sum + count, 0);
    const indexed = await query(`SELECT unnest("messageIds") AS id FROM read_json(${list(indexes)})`);
    // All messages stand in the index, but for those that are counted.
    assert.equal(indexed.length + leftOut, ids.length);
    assert.ok(indexed.every(({ id }) => ids.includes(id)));
    const [line] = (await readFile(files[0], "utf8")).trimEnd().split("\n").map((text) => JSON.parse(text));
    const said = line[turns].map((turn) => turn.content ?? turn.value);
    assert.ok(said.includes("打我电话 [phone]") && said.includes("再见"), JSON.stringify(line));
    assert.ok(manifest.redacted.phone >= 1);
    const read = await query(`SELECT len("${turns}")::INT AS turns FROM read_json(${list(files)})`);
    assert.deepEqual(read, [{ turns: line[turns].length }]);
  }
});

const list = (files) => `[${files.map((file) => `'${file.replaceAll("'", "''")}'`).join(", ")}]`;
