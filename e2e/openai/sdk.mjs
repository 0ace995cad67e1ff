// The official Node SDK, OpenAI's agents framework and the AI SDK against Moongate's OpenAI door.
//
// MOONGATE_E2E_URL and MOONGATE_E2E_KEY say where it is; its default agent is the built-in demo model.

import assert from "node:assert/strict";

import { createOpenResponses } from "@ai-sdk/open-responses";
import { Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, tool } from "@openai/agents";
import { streamText } from "ai";
import OpenAI from "openai";
import { z } from "zod";

const baseURL = process.env.MOONGATE_E2E_URL;
const apiKey = process.env.MOONGATE_E2E_KEY;
const MODEL = "moongate/default";
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

  async conversations() {
    const made = await client.conversations.create({ items: user("one") });
    const answer = await client.responses.create({ model: MODEL, conversation: made.id, input: "two" });
    assert.equal(answer.status, "completed");
    const texts = [];
    for await (const item of client.conversations.items.list(made.id, { order: "asc" })) {
      texts.push(item.content[0].text);
    }
    assert.deepEqual(texts.slice(0, 2), ["one", "two"]);
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
