// The conformance suite shows no key: this adds one, and puts the server's own port in the place of its own.
// proxy.mjs MOONGATE SUITE...
import { spawn } from "node:child_process";
import { createServer, request } from "node:http";
import { fileURLToPath } from "node:url";

import { start } from "./gate.mjs";

const suite = fileURLToPath(new URL("node_modules/@modelcontextprotocol/conformance/dist/index.js", import.meta.url));
const gate = await start(process.argv[2], "");
const { port } = new URL(gate.url);
const proxy = createServer((asked, answer) => {
  const headers = { ...asked.headers, authorization: `Bearer ${gate.key}` };
  for (const name of ["host", "origin"]) {
    if (headers[name]) headers[name] = headers[name].replace(String(proxy.address().port), port);
  }
  const onward = request({ host: "127.0.0.1", port, path: asked.url, method: asked.method, headers, setHost: false });
  onward.on("response", (response) => {
    answer.writeHead(response.statusCode, response.headers);
    response.pipe(answer);
  });
  onward.on("error", () => answer.destroy());
  answer.on("close", () => onward.destroy());
  asked.pipe(onward);
});
await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));
const url = `http://localhost:${proxy.address().port}/mcp`;
const child = spawn(process.execPath, [suite, "server", "--url", url, ...process.argv.slice(3)], { stdio: "inherit" });
const code = await new Promise((resolve) => child.once("exit", resolve));
proxy.closeAllConnections();
proxy.close();
await gate.stop();
process.exitCode = code;
