// Talking: streaming, reasoning, code, a queue, stopping, a failure, forking, attachments, drafts.

import { accessible, check, reads, say } from "../kit.mjs";

/** One pixel. */
const PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

export async function run({ page, browser, gateway }) {
  await page.goto(gateway.origin);
  await page.getByText("the built-in demo answers").waitFor();
  await accessible(page, "home");
  await browser.shot(page, "home-light");
  await say(page, "/think I look at what was asked.\n/slow 25\n/long 60\nTell me what you are.");
  await page.waitForURL(/\/s\/ses_/);
  check((await page.evaluate(() => sessionStorage.getItem("draft:new"))) === null, "what was sent is still a draft");
  const talk = reads(page);
  await page.getByRole("button", { name: "Stop" }).waitFor();
  const early = (await talk.innerText()).length;
  await talk.getByText("Thought").waitFor();
  await page.waitForFunction((length) => document.querySelector("[role=region][aria-label=Conversation]").innerText.length > length + 40, early);
  await browser.shot(page, "streaming-light");
  await talk.getByText(/ in · .* out/).waitFor();
  await accessible(page, "conversation");

  // The same words as the log has, piece by piece or whole.
  const id = page.url().split("/").at(-1);
  const { items } = await gateway.api("GET", `/sessions/${id}/messages`);
  const said = items.at(-1).parts.find((part) => part.type === "text").text;
  const words = (text) => text.replace(/[\s>#*`_-]+/g, " ").trim();
  const shown = words(await talk.innerText());
  check(shown.includes(words(said).slice(-120)), `the page ends otherwise than the log: ${shown.slice(-200)}`);

  // What waits can be taken back; what runs can be stopped.
  await say(page, "/slow 300\n/long 400");
  await page.getByRole("button", { name: "Stop" }).waitFor();
  await say(page, "this waits");
  await page.getByText("1 message waits").waitFor();
  await accessible(page, "running");
  await page.getByRole("button", { name: "Take back" }).click();
  await page.getByText("1 message waits").waitFor({ state: "detached" });
  await page.keyboard.press("Control+.");
  await talk.getByText("Stopped by admin").waitFor();

  await say(page, "/fail overloaded");
  await talk.getByText("The provider has too much to do.").waitFor({ timeout: 60_000 });
  await accessible(page, "failed turn");
  await talk.getByRole("button", { name: "Send it again" }).last().click();
  check((await page.getByLabel("Your message").inputValue()) === "/fail overloaded", "it is not there to be sent again");

  // A draft survives a reload, and is gone once it is sent.
  await page.getByLabel("Your message").fill("half a thought");
  await page.reload();
  await page.waitForFunction(() => document.getElementById("message")?.value === "half a thought");
  await page.locator("input[type=file][multiple]").setInputFiles({ name: "dot.png", mimeType: "image/png", buffer: Buffer.from(PNG, "base64") });
  await page.getByText("dot.png").waitFor();
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await page.getByText("half a thought").first().waitFor();
  await reads(page).locator("img[src^='blob:']").waitFor();
  await page.reload();
  await reads(page).locator("img[src^='blob:']").waitFor();
  check((await page.getByLabel("Your message").inputValue()) === "", "the draft came back");

  await reads(page).getByRole("button", { name: "Fork from here" }).first().click();
  await page.getByText("Forked here from another session").waitFor();
  check(!page.url().includes(id), "the fork is the same session");

  // Said otherwise, in a session that ends before it was said.
  await page.goto(`${gateway.origin}/s/${id}`);
  await reads(page).getByRole("article", { name: "You" }).first().hover();
  await reads(page).getByRole("button", { name: "Say it otherwise" }).first().click();
  await page.waitForFunction((old) => !location.pathname.endsWith(old) && document.getElementById("message")?.value.startsWith("/think"), id);

  // Code has colours and can be copied.
  await say(page, "```rust\nfn main() { println!(\"hi\"); }\n```");
  await reads(page).locator("pre").last().waitFor();
}
