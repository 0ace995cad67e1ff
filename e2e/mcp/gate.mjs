// A Moongate that runs for as long as it is looked at.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const AGENT = '[agents.default]\nmodel = "builtin/demo"\npolicy = "full"\ntools = ["*"]\n';

/** Starts it with these further lines of configuration. */
export async function start(binary, config) {
  const data = mkdtempSync(join(tmpdir(), "moongate-mcp-"));
  const file = join(data, "moongate.toml");
  writeFileSync(file, AGENT + config);
  const args = ["--config", file, "--data", data, "--listen", "127.0.0.1:0", "serve"];
  const child = spawn(binary, args, { stdio: ["ignore", "ignore", process.env.SHOW ? "inherit" : "ignore"] });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const gate = {
    data,
    command: ["--config", file, "--data", data],
    async stop() {
      child.kill("SIGKILL");
      await ended;
      rmSync(data, { recursive: true });
    },
  };
  gate.url = await until("the server listens", () => JSON.parse(readFileSync(join(data, "server.json"))).url);
  gate.key = readFileSync(join(data, "admin.key"), "utf8").trim();
  return gate;
}

/** The first thing that is there; what is not yet throws, or is nothing. */
export async function until(what, look) {
  for (let tries = 0; tries < 600; tries += 1) {
    try {
      const found = await look();
      if (found) return found;
    } catch {
      // Not yet.
    }
    await sleep(50);
  }
  throw new Error(`not in time: ${what}`);
}

/** A request with the administrator's key. */
export async function ask(gate, method, path, body, headers = {}) {
  const response = await fetch(gate.url + path, {
    method,
    headers: { authorization: `Bearer ${gate.key}`, "content-type": "application/json", ...headers },
    body: body && JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return response;
}

/** Waits until these MCP servers are up. */
export async function up(gate, names) {
  await until(`${names} are up`, async () => {
    const { servers } = await (await ask(gate, "GET", "/api/v1/tools")).json();
    return names.every((name) => servers.some((server) => server.name === name && server.state === "up"));
  });
}

/** Has the model call a tool; says how that ended. */
export async function call(gate, tool, args) {
  const { id } = await (await ask(gate, "POST", "/api/v1/sessions", {})).json();
  const said = { text: `/tool ${tool} ${JSON.stringify(args)}` };
  const stream = await ask(gate, "POST", `/api/v1/sessions/${id}/inputs`, said, { accept: "text/event-stream" });
  const data = (await stream.text()).split("\n").filter((line) => line.startsWith("data: "));
  const events = data.map((line) => JSON.parse(line.slice(6)));
  const finished = events.map((event) => event.event ?? event).find((event) => event.type === "tool.finished");
  if (!finished) throw new Error(`${tool} was not called: ${JSON.stringify(events).slice(0, 2000)}`);
  const text = finished.content.map((part) => part.text ?? "").join("");
  return { outcome: finished.outcome, text, data: finished.data };
}
