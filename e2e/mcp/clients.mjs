// Our client against the conformance suite's servers, all at once: clients.mjs MOONGATE
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const suite = here("node_modules/@modelcontextprotocol/conformance/dist/index.js");
const command = `"${process.execPath}" "${here("client.mjs")}"`;

// Left out: OAuth, elicitation and results that want more input, which our client does not do and does not claim; and
// what is about a client that chooses arguments by the suite's rules (`http-custom-headers`, `json-schema-2020-12`).
const scenarios = [
  ["2025-11-25", ["initialize", "tools_call", "sse-retry"]],
  ["2026-07-28", ["tools_call", "request-metadata", "http-standard-headers", "http-invalid-tool-headers", "json-schema-ref-no-deref"]],
];

for (const [version, names] of scenarios) {
  const run = (name) =>
    new Promise((resolve) => {
      const args = [suite, "client", "--command", command, "--scenario", name, "--spec-version", version, "--timeout", "60000"];
      const child = spawn(process.execPath, args, { env: { ...process.env, MOONGATE: process.argv[2] } });
      let said = "";
      for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (said += data));
      child.once("exit", (code) => resolve({ name, code, said }));
    });
  for (const { name, code, said } of await Promise.all(names.map(run))) {
    if (code !== 0) throw new Error(`${version} ${name}:\n${said}`);
    console.log(`ok: our client, ${version} ${name}`);
  }
}
