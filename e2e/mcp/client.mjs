// Our client against one server of the conformance suite: MOONGATE=... client.mjs URL
import { ask, call, start, up } from "./gate.mjs";

const url = process.argv.at(-1);
const gate = await start(process.env.MOONGATE, `[mcp.it]\nurl = ${JSON.stringify(url)}\n`);

/** Arguments that fit a schema. */
function fitting(schema) {
  const values = { string: "x", number: 1, integer: 1, boolean: true, array: [], object: {} };
  const wanted = Object.entries(schema.properties ?? {});
  return Object.fromEntries(wanted.map(([name, of]) => [name, of.default ?? of.enum?.[0] ?? values[of.type] ?? "x"]));
}

try {
  await up(gate, ["it"]);
  const { items } = await (await ask(gate, "GET", "/api/v1/tools")).json();
  for (const tool of items.filter(({ name }) => name.startsWith("it__"))) {
    const ended = await call(gate, tool.name, fitting(tool.parameters));
    console.log(tool.name, JSON.stringify(ended));
  }
} finally {
  await gate.stop();
}
