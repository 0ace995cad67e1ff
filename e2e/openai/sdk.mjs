// The official Node SDK, OpenAI's agents framework and the AI SDK against Moongate's OpenAI door.
//
// Usage: sdk.mjs MOONGATE: starts that program on a free port with a data folder of its own and the built-in demo
// model, and ends it. Each check is a function; the first that fails ends the run.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { createOpenResponses } from "@ai-sdk/open-responses";
import { Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, tool } from "@openai/agents";
import { streamText } from "ai";
import OpenAI from "openai";
import { ResponsesWS } from "openai/resources/responses/ws";
import { z } from "zod";

const MODEL = "moongate/default";
const PNG =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/** Moongate on a port of its own; it can be killed and started again on the same data. */
class Server {
  constructor(program, port) {
    this.folder = mkdtempSync(join(tmpdir(), "moongate-e2e-"));
    const config = join(this.folder, "moongate.toml");
    writeFileSync(config, '[agents.default]\nmodel = "builtin/demo"\n');
    this.data = join(this.folder, "data");
    this.command = [program, "--config", config, "--data", this.data, "--listen", `127.0.0.1:${port}`, "serve"];
    this.address = `http://127.0.0.1:${port}`;
    process.on("exit", () => {
      this.process?.kill("SIGKILL");
      rmSync(this.folder, { recursive: true, force: true });
    });
  }

  async start() {
    const [program, ...args] = this.command;
    this.process = spawn(program, args, { stdio: "ignore" });
    for (let tries = 600; tries > 0; tries -= 1) {
      const answer = await fetch(`${this.address}/healthz`).catch(() => null);
      if (answer?.ok) break;
      await sleep(50);
    }
    this.key = readFileSync(join(this.data, "admin.key"), "utf8").trim();
  }

  async kill() {
    const ended = once(this.process, "exit");
    this.process.kill("SIGKILL");
    await ended;
  }
}

async function freePort() {
  const listener = createServer().listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address();
  listener.close();
  return port;
}

const server = new Server(process.argv[2], await freePort());
await server.start();
const baseURL = `${server.address}/openai/v1`;
const apiKey = server.key;
const client = new OpenAI({ baseURL, apiKey });

const user = (content) => [{ role: "user", content }];
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const weather = { name: "weather", description: "Tells the weather.", parameters };

const checks = {
  async models() {
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    assert(ids.includes(MODEL));
    assert.equal((await client.models.retrieve(MODEL)).id, MODEL);
  },

  async chat() {
    const answer = await client.chat.completions.create({ model: MODEL, messages: user("hello there") });
    assert.match(answer.choices[0].message.content, /> hello there/);
    const stream = client.chat.completions.stream({
      model: MODEL,
      messages: user("/slow 1\n/long 20"),
      stream_options: { include_usage: true },
    });
    assert.match(await stream.finalContent(), /word20\.$/);
    assert((await stream.totalUsage()).completion_tokens > 0);
  },

  async "chat with tools"() {
    const messages = user('/tool weather {"city": "Oslo"}\n/tool weather {"city": "Rome"}');
    const ran = [];
    const run = client.chat.completions.runTools({
      model: MODEL,
      messages,
      stream: true,
      tools: [{
        type: "function",
        function: {
          ...weather,
          parse: JSON.parse,
          function: ({ city }) => {
            ran.push(city);
            return `rain in ${city}`;
          },
        },
      }],
    });
    const said = await run.finalContent();
    assert.deepEqual(ran, ["Oslo", "Rome"]);
    assert.match(said, /rain in Oslo[\s\S]*rain in Rome/);
  },

  async "chat with an image"() {
    const content = [
      { type: "text", text: "look" },
      { type: "image_url", image_url: { url: `data:image/png;base64,${PNG}` } },
    ];
    const answer = await client.chat.completions.create({ model: MODEL, messages: user(content) });
    assert.match(answer.choices[0].message.content, /1 image/);
  },

  async retries() {
    const began = performance.now();
    const busy = client.withOptions({ maxRetries: 2 }).chat.completions;
    const ask = async () => await busy.create({ model: MODEL, messages: user("/fail overloaded") });
    await assert.rejects(ask, OpenAI.InternalServerError);
    assert(performance.now() - began > 500, "it tried again");
  },

  async errors() {
    const once = client.withOptions({ maxRetries: 0 });
    const refused = [
      [OpenAI.NotFoundError, () => once.responses.retrieve("resp_x")],
      [OpenAI.BadRequestError, () => once.chat.completions.create({ model: MODEL, messages: user("hi"), n: 2 })],
      [OpenAI.AuthenticationError, () => once.withOptions({ apiKey: "mg_no" }).models.list()],
      [OpenAI.InternalServerError, () => once.responses.create({ model: MODEL, input: "/fail auth" })],
    ];
    for (const [kind, ask] of refused) {
      await assert.rejects(async () => await ask(), (error) => error instanceof kind && error.requestID.startsWith("req_"));
    }
  },

  async responses() {
    const first = await client.responses.create({ model: MODEL, input: "hello there" });
    assert.match(first.output_text, /> hello there/);
    const second = await client.responses.create({ model: MODEL, input: "more", previous_response_id: first.id });
    assert.match(second.output_text, /a conversation of 3 messages/);
    assert.equal((await client.responses.retrieve(second.id)).output_text, second.output_text);
    const stream = client.responses.stream({ model: MODEL, input: "/think\n/slow 1\n/long 20" });
    assert.match((await stream.finalResponse()).output_text, /word20\.$/);
    const slow = await client.responses.create({ model: MODEL, input: "/slow 1000\n/long 20", background: true });
    assert.equal((await client.responses.cancel(slow.id)).status, "cancelled");
    await client.responses.delete(second.id);
    await assert.rejects(client.responses.retrieve(second.id), OpenAI.NotFoundError);
  },

  async background() {
    let made = await client.responses.create({ model: MODEL, input: "/slow 20\n/long 40", background: true });
    while (["queued", "in_progress"].includes(made.status)) {
      await sleep(50);
      made = await client.responses.retrieve(made.id);
    }
    assert.match(made.output_text, /word40\.$/);
  },

  async "resume after a restart"() {
    const pieces = (events) => events.filter((event) => event.type === "response.output_text.delta");
    const some = async (stream) => {
      const seen = [];
      for await (const event of stream) {
        seen.push(event);
        if (pieces(seen).length > 5) break;
      }
      return seen;
    };
    const asked = { model: MODEL, input: "/slow 30\n/long 80", background: true, stream: true };
    const seen = await some(await client.responses.create(asked));
    const { id } = seen[0].response;
    const after = (events) => ({ stream: true, starting_after: events.at(-1).sequence_number });
    const more = await some(await client.responses.retrieve(id, after(seen)));
    const text = pieces([...seen, ...more]).map((event) => event.delta).join("");
    assert("word1 word2 word3 word4 word5 word6 word7 word8 word9 word10".startsWith(text.slice(0, 60).trim()), text);
    await server.kill();
    await server.start();
    const rest = [];
    for await (const event of await client.responses.retrieve(id, after(more))) rest.push(event);
    assert.equal(rest.at(-1).type, "response.completed");
    const written = pieces(rest).map((event) => event.delta).join("");
    assert.equal(written, rest.at(-1).response.output[0].content[0].text);
    assert.match(written, /^word1 [\s\S]*word80\.$/);
  },

  async websocket() {
    const socket = new ResponsesWS(client);
    let previous;
    for (const store of [true, false, false]) {
      const ended = once(socket, "response.completed", { signal: AbortSignal.timeout(30_000) });
      socket.send({ type: "response.create", model: MODEL, input: "hello", store, previous_response_id: previous });
      const [{ response }] = await ended;
      const said = response.output[0].content[0].text;
      assert.match(said, /> hello/);
      previous = response.id;
      if (!store) assert.match(said, /a conversation of [35] messages/);
    }
    socket.close();
  },

  async conversations() {
    const made = await client.conversations.create({ items: user("one") });
    const answer = await client.responses.create({ model: MODEL, conversation: made.id, input: "two" });
    assert.equal(answer.status, "completed");
    const texts = [];
    for await (const item of client.conversations.items.list(made.id, { order: "asc" })) {
      texts.push(item.content[0].text);
    }
    assert.deepEqual(texts.slice(0, 2), ["one", "two"]);
    const items = [{ role: "user", content: "three" }, { role: "assistant", content: "3" }];
    const added = await client.conversations.items.create(made.id, { items });
    assert.deepEqual(added.data.map((item) => item.content[0].text), ["three", "3"]);
    const last = await client.responses.create({ model: MODEL, conversation: made.id, input: "four" });
    assert.match(last.output_text, /a conversation of 5 messages/);
    await client.conversations.delete(made.id);
  },

  async agents() {
    const ran = [];
    const look = tool({
      name: "weather",
      description: weather.description,
      parameters: z.object({ city: z.string() }),
      execute: async ({ city }) => {
        ran.push(city);
        return `rain in ${city}`;
      },
    });
    const runner = new Runner({ tracingDisabled: true });
    for (const kind of [OpenAIChatCompletionsModel, OpenAIResponsesModel]) {
      for (const stream of [false, true]) {
        const agent = new Agent({ name: "helper", tools: [look], model: new kind(client, MODEL) });
        const result = await runner.run(agent, '/tool weather {"city": "Oslo"}', { stream });
        if (stream) await result.completed;
        assert.match(result.finalOutput, /rain in Oslo/);
      }
    }
    assert.deepEqual(ran, ["Oslo", "Oslo", "Oslo", "Oslo"]);
  },

  async "ai with open-responses"() {
    const provider = createOpenResponses({ name: "moongate", url: `${baseURL}/responses`, apiKey });
    const result = streamText({ model: provider(MODEL), prompt: "/slow 1\n/long 20" });
    let text = "";
    for await (const piece of result.textStream) text += piece;
    assert.match(text, /word20\.$/);
  },
};

for (const [name, check] of Object.entries(checks)) {
  await check();
  console.log(`ok: ${name}`);
}
// What a check left open, a socket for example, keeps nobody waiting.
process.exit(0);
