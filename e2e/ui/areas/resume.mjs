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

/** The words of the answer that is being written: the demo model counts them. */
const counted = (page) =>
  reads(page).locator(".prose").last().innerText().then((text) => [...text.matchAll(/word(\d+)/g)].map(([, number]) => Number(number)));

/** Its socket is closed in mid-answer, again and again: each time what is there comes once more from its beginning. */
async function cutAgainAndAgain(browser, gateway) {
  const page = await browser.page();
  let socket;
  await page.routeWebSocket(/\/api\/v1\/ws$/, (route) => {
    socket = route;
    route.connectToServer();
  });
  await page.goto(gateway.origin);
  await page.getByRole("heading", { name: "What shall be done?" }).waitFor();
  await say(page, "/slow 25\n/long 250");
  await reads(page).locator(".prose").waitFor();
  for (let cut = 0; cut < 3; cut++) {
    const before = (await counted(page)).length;
    await socket.close({ code: 1012 });
    const until = Date.now() + 10_000;
    let words;
    do {
      words = await counted(page);
      check(words.every((number, at) => number === at + 1), `after cut ${cut + 1} the words are ${words}`);
      check(Date.now() < until, `after cut ${cut + 1} nothing more came`);
    } while (words.length < before + 8);
  }
  await page.getByRole("button", { name: "Stop" }).click();
  await page.close();
}

export async function run({ page, browser, gateway }) {
  await cutAgainAndAgain(browser, gateway);
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
