// A connection that goes away and comes back, and a gateway that is killed in the middle of an answer.

import { check, reads, say } from "../kit.mjs";

/** The browser says that it could not connect; so does the page. */
export const faults = (text) => /ERR_|WebSocket|Failed to load resource/.test(text);

const words = (text) => text.replace(/[\s>#*`_-]+/g, " ").trim();

async function agrees(page, gateway) {
  const id = page.url().split("/").at(-1);
  const { items } = await gateway.api("GET", `/sessions/${id}/messages`);
  const said = words(items.at(-1).parts.find((part) => part.type === "text").text);
  const shown = words(await reads(page).innerText());
  check(shown.split(said).length === 2, `the page has the answer ${shown.split(said).length - 1} times, not once`);
}

export async function run({ page, browser, gateway }) {
  await page.goto(gateway.origin);
  await page.getByRole("heading", { name: "What shall be done?" }).waitFor();
  await say(page, "/slow 20\n/long 150");
  await page.getByRole("button", { name: "Stop" }).waitFor();
  await reads(page).locator(".prose").waitFor();
  await page.context().setOffline(true);
  await page.evaluate(() => dispatchEvent(new Event("offline")));
  await page.context().setOffline(false);
  await reads(page).getByText(/ in · .* out/).waitFor({ timeout: 30_000 });
  await agrees(page, gateway);

  await say(page, "/slow 20\n/long 200");
  await page.getByRole("button", { name: "Stop" }).waitFor();
  await reads(page).locator(".prose").nth(1).waitFor();
  await gateway.kill();
  await page.getByText("Connection lost").waitFor();
  await browser.shot(page, "lost-light");
  await gateway.start();
  await page.getByText("Connection lost").waitFor({ state: "detached", timeout: 40_000 });
  await reads(page).getByText(/ in · .* out/).nth(1).waitFor({ timeout: 40_000 });
  await agrees(page, gateway);
  check(page.url().includes("/s/"), "it did not stay signed in");
}
