// What waits for a person: a call to approve, to change, to deny; in the conversation and in one place for all.

import { accessible, check, reads, say } from "../kit.mjs";

const call = (task) => `/tool delegate ${JSON.stringify({ agent: "scout", task })}`;

export async function run({ page, browser, gateway }) {
  await page.goto(`${gateway.origin}/waiting`);
  await page.getByText("Nothing waits for you").waitFor();
  await accessible(page, "nothing waits");

  await page.goto(gateway.origin);
  await page.getByRole("heading", { name: "What shall be done?" }).waitFor();
  await say(page, call("look around"));
  await page.getByRole("heading", { name: "May delegate run?" }).waitFor();
  await page.waitForFunction(() => document.title.startsWith("(1)") || document.title.length > 0);
  await accessible(page, "approval");
  await browser.shot(page, "approval-light");

  // With other arguments than the model's.
  await page.getByRole("button", { name: "Change the arguments" }).click();
  const text = page.getByLabel("The arguments, as JSON");
  await text.fill("{ not json");
  check(await page.getByRole("button", { name: "Approve" }).isDisabled(), "broken JSON can be approved");
  await text.fill(JSON.stringify({ agent: "scout", task: "look around twice" }));
  await page.getByRole("button", { name: "Approve" }).click();
  await reads(page).getByText("Approved").waitFor();
  await reads(page).getByText("with changed arguments").waitFor();
  await reads(page).getByText("done", { exact: true }).waitFor();
  await reads(page).getByText(/ in · .* out/).waitFor();
  await reads(page).locator("details.tool summary").first().click();
  await page.getByRole("link", { name: "Open the agent’s own session" }).waitFor();
  await accessible(page, "tool card");
  await browser.shot(page, "tool-light");

  // Denied with a word, from the place where everything waits.
  await say(page, call("look again"));
  await page.getByRole("heading", { name: "May delegate run?" }).waitFor();
  await page.getByRole("link", { name: /Waiting for you/ }).click();
  await page.getByRole("heading", { name: "May delegate run?" }).waitFor();
  await page.waitForFunction(() => document.title.startsWith("(1)"));
  await accessible(page, "waiting");
  await browser.shot(page, "waiting-light");
  await page.getByLabel("A word to the agent").fill("not today");
  await page.getByRole("button", { name: "Deny" }).click();
  await page.getByText("Nothing waits for you").waitFor();
  await page.goBack();
  await reads(page).getByText("not today").waitFor();
}
