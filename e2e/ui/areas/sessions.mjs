// The list: live, searched, renamed, archived, deleted with a way back, exported and imported.

import { readFileSync } from "node:fs";

import { accessible, check } from "../kit.mjs";

export async function run({ page, browser, gateway }) {
  await page.goto(gateway.origin);
  const list = page.getByRole("region", { name: "Sessions" });
  // Another client's session shows up by itself.
  const id = await gateway.talked("the word is marzipan", "From elsewhere");
  const row = list.getByRole("listitem").filter({ hasText: "From elsewhere" });
  await row.waitFor();

  await page.getByPlaceholder("Search sessions").fill("marzipan");
  await list.getByRole("listitem").nth(1).waitFor({ state: "detached" });
  await row.waitFor();
  await page.getByPlaceholder("Search sessions").fill("");

  const menu = async (of, item) => {
    await of.hover();
    await of.getByRole("button", { name: /^Actions for/ }).click();
    await page.getByRole("menuitem", { name: item }).click();
  };
  await row.hover();
  await row.getByRole("button", { name: /^Actions for/ }).click();
  await accessible(page, "menu");
  await page.keyboard.press("Escape");
  await menu(row, "Rename");
  await page.getByRole("textbox", { name: "Rename the session" }).fill("A better name");
  await accessible(page, "rename");
  await page.getByRole("button", { name: "Save" }).click();
  const renamed = list.getByRole("listitem").filter({ hasText: "A better name" });
  await renamed.waitFor();

  await menu(renamed, "Delete");
  await renamed.waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Undo" }).click();
  await renamed.waitFor();
  check((await gateway.api("GET", `/sessions/${id}`)).title === "A better name", "it was deleted all the same");

  const [kept] = await Promise.all([page.waitForEvent("download"), menu(renamed, "Export")]);
  const log = await kept.path();
  await page.locator("input[type=file][accept*=jsonl]").setInputFiles({ name: "log.jsonl", mimeType: "application/x-ndjson", buffer: readFileSync(log) });
  await page.waitForURL(/\/s\/ses_/);
  check(!page.url().includes(id), "the import is the same session");
  await page.getByText("the word is marzipan").first().waitFor();
  await gateway.api("DELETE", `/sessions/${page.url().split("/").at(-1)}`);
  await page.getByText("This session was deleted.").waitFor();

  await renamed.nth(1).waitFor({ state: "detached" });
  await menu(renamed, "Archive");
  await renamed.waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Show the archive" }).click();
  await renamed.waitFor();
  await page.getByRole("button", { name: "Back to the current ones" }).click();

  await page.goto(`${gateway.origin}/s/${id}/log`);
  await page.getByText("session.created", { exact: true }).waitFor();
  await accessible(page, "event log");
  await browser.shot(page, "log-light");
  await page.goto(`${gateway.origin}/s/ses_00000000000000000000000000`);
  await page.getByText("This session cannot be shown").waitFor();
  page.faults = page.faults.filter((fault) => !/status of 404/.test(fault));
}
