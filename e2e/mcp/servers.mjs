// MCP servers that others wrote, used by an agent of ours: servers.mjs MOONGATE
import { spawn } from "node:child_process";
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { ask, call, start, until, up } from "./gate.mjs";

const packages = fileURLToPath(new URL("node_modules/@modelcontextprotocol/", import.meta.url));
const everything = join(packages, "server-everything/dist/index.js");
const filesystem = join(packages, "server-filesystem/dist/index.js");
const node = process.execPath;

const folder = realpathSync(mkdtempSync(join(tmpdir(), "moongate-mcp-files-")));
mkdirSync(join(folder, "inner"));
const port = await new Promise((resolve) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const { port } = server.address();
    server.close(() => resolve(port));
  });
});
const remote = spawn(node, [everything, "streamableHttp"], { env: { PORT: port }, stdio: "ignore" });
await until("the server elsewhere listens", async () => await fetch(`http://127.0.0.1:${port}/mcp`));

const text = (value) => JSON.stringify(value);
const gate = await start(
  process.argv[2],
  `[mcp.everything]\ncommand = ${text(node)}\nargs = [${text(everything)}, "stdio"]\n` +
    `[mcp.files]\ncommand = ${text(node)}\nargs = [${text(filesystem)}, ${text(folder)}]\n` +
    `[mcp.remote]\nurl = "http://127.0.0.1:${port}/mcp"\n`,
);
try {
  await up(gate, ["everything", "files", "remote"]);
  for (const server of ["everything", "remote"]) {
    const echo = await call(gate, `${server}__echo`, { message: "hello" });
    assert.deepEqual([echo.outcome, echo.text], ["ok", "Echo: hello"]);
    const sum = await call(gate, `${server}__get-sum`, { a: 2, b: 3 });
    assert.match(sum.text, /5/);
    const structured = await call(gate, `${server}__get-structured-content`, { location: "New York" });
    assert.equal(typeof structured.data.temperature, "number");
    const image = await call(gate, `${server}__get-tiny-image`, {});
    assert.match(image.text, /image\/png/);
    const long = await call(gate, `${server}__trigger-long-running-operation`, { duration: 1, steps: 2 });
    assert.equal(long.outcome, "ok");
    const wrong = await call(gate, `${server}__get-sum`, { a: "two" });
    assert.equal(wrong.outcome, "error");
  }
  const path = join(folder, "inner/note.txt");
  assert.equal((await call(gate, "files__write_file", { path, content: "a note" })).outcome, "ok");
  assert.equal(readFileSync(path, "utf8"), "a note");
  assert.match((await call(gate, "files__read_text_file", { path })).text, /a note/);
  assert.match((await call(gate, "files__list_directory", { path: folder })).text, /inner/);
  const outside = await call(gate, "files__read_text_file", { path: "/etc/passwd" });
  assert.deepEqual([outside.outcome, outside.text.includes("root:")], ["error", false]);
  remote.kill("SIGKILL");
  await until("its end is seen", async () => {
    const gone = await call(gate, "remote__echo", { message: "hello" });
    return gone.outcome === "error";
  });
  const { servers } = await (await ask(gate, "GET", "/api/v1/tools")).json();
  assert.deepEqual(servers.map((server) => [server.name, server.changed.length]), [["everything", 0], ["files", 0], ["remote", 0]]);
  console.log(`ok: ${servers.map((server) => `${server.name} (${server.tools} tools)`).join(", ")}`);
} finally {
  remote.kill("SIGKILL");
  await gate.stop();
  rmSync(folder, { recursive: true });
}
