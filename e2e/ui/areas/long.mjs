// A conversation of 5,000 messages opens at once, and a fast long answer stays smooth.

import { check, reads, say } from "../kit.mjs";

const TURNS = 2_500;

/** A log of many turns, made of a real one's events. */
async function manyTurns(gateway) {
  const id = await gateway.talked("once more", "Five thousand messages");
  const lines = (await gateway.api("GET", `/sessions/${id}/export`, undefined, { raw: true })).trim().split("\n").map((line) => JSON.parse(line));
  const begin = lines.findIndex((event) => event.type === "input.accepted");
  const end = lines.findIndex((event) => event.type === "turn.completed");
  const turn = lines.slice(begin, end + 1);
  const log = lines.slice(0, begin);
  const alphabet = "0123456789abcdefghijklmnopqrstuv";
  for (let number = 0; number < TURNS; number++) {
    let text = JSON.stringify(turn);
    // Other ids in each turn: the last characters of each say which.
    const tail = alphabet[number >> 10] + alphabet[(number >> 5) & 31] + alphabet[number & 31];
    text = text.replace(/((?:inp|trn|itm|call)_[0-9a-z]{20})[0-9a-z]{3}([0-9a-z]{3})/g, `$1${tail}$2`);
    for (const event of JSON.parse(text)) log.push({ ...event, seq: log.length + 1 });
  }
  const answer = await gateway.api("POST", "/sessions/import", log.map((event) => JSON.stringify(event)).join("\n"), { "Content-Type": "application/x-ndjson" });
  return answer.id;
}

export async function run({ page, gateway }) {
  const id = await manyTurns(gateway);
  await page.goto(gateway.origin);
  await page.getByRole("heading", { name: "What shall be done?" }).waitFor();
  await page.getByRole("region", { name: "Sessions" }).getByRole("link", { name: /Five thousand/ }).first().waitFor();
  const opened = await page.evaluate(async (path) => {
    const began = performance.now();
    document.querySelector(`a[href="${path}"]`).click();
    while (!document.querySelector("[aria-label=Conversation] article")) await new Promise(requestAnimationFrame);
    return performance.now() - began;
  }, `/s/${id}`);
  console.log(`   5,000 messages open in ${opened.toFixed(0)} ms`);
  check(opened < 5_000, `it took ${opened} ms to open`);
  const talk = reads(page);
  const before = await talk.locator("article").count();
  await talk.evaluate((element) => (element.scrollTop = 0));
  await page.waitForFunction((count) => document.querySelectorAll("[aria-label=Conversation] article").length > count, before);

  await page.goto(gateway.origin);
  await page.getByRole("heading", { name: "What shall be done?" }).waitFor();
  await say(page, "/slow 5\n/long 1200");
  await reads(page).locator(".prose").waitFor();
  const frames = await page.evaluate(async () => {
    const times = [];
    const until = performance.now() + 3_000;
    while (performance.now() < until) times.push(await new Promise(requestAnimationFrame));
    return times.length / 3;
  });
  console.log(`   ${frames.toFixed(0)} frames a second while it streams`);
  check(frames > 10, `${frames} frames a second`);
  await page.getByRole("button", { name: "Stop" }).click();
}
