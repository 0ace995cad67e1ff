// What waits for a person: a call to approve, to change, to deny; in the conversation and in one place for all.

import { accessible, Asking, check, reads, say } from "../kit.mjs";

export async function run({ browser }) {
  const gateway = new Asking(process.env.ASKING);
  await gateway.start();
  // A browser of its own: cookies do not know ports.
  const context = await browser.browser.newContext({ viewport: { width: 1280, height: 820 } });
  const page = await browser.page(context, gateway);
  try {
    await decide(page, browser, gateway);
    await answer(page, browser, gateway);
    check(page.strangers.length === 0, `it asked others: ${page.strangers.join(", ")}`);
  } catch (error) {
    await browser.shot(page, "failed-people");
    throw error;
  } finally {
    await context.close();
    await gateway.kill();
  }
}

async function decide(page, browser, gateway) {
  await browser.signIn(page, gateway);
  await page.goto(`${gateway.origin}/waiting`);
  await page.getByText("Nothing waits for you").waitFor();
  await accessible(page, "nothing waits");

  await page.goto(gateway.origin);
  await page.getByRole("heading", { name: "What shall be done?" }).waitFor();
  await say(page, "ada@example.org");
  const asked = page.getByRole("heading", { name: "May send_letter run?" });
  await asked.waitFor();
  await page.waitForFunction(() => document.title === "(1) ada@example.org · Moongate");
  await accessible(page, "approval");
  await browser.shot(page, "approval-light");
  await page.emulateMedia({ colorScheme: "dark" });
  await accessible(page, "approval in the dark");
  await browser.shot(page, "approval-dark");
  await page.setViewportSize({ width: 360, height: 740 });
  await accessible(page, "approval on a phone");
  await browser.shot(page, "approval-phone");
  const cut = await page.evaluate(() => [...document.querySelectorAll("main *")].filter((element) => element.getBoundingClientRect().right > innerWidth && element.checkVisibility()).map((element) => element.outerHTML.slice(0, 80)));
  check(cut.length === 0, `a phone cuts off ${cut.join(" | ")}`);
  await page.setViewportSize({ width: 1280, height: 820 });
  await page.emulateMedia({ colorScheme: "light" });

  // With other arguments than the model's.
  await page.getByRole("button", { name: "Change the arguments" }).click();
  const text = page.getByLabel("The arguments, as JSON");
  await text.fill("{ not json");
  check(await page.getByRole("button", { name: "Approve" }).isDisabled(), "broken JSON can be approved");
  await text.fill(JSON.stringify({ to: "grace@example.org" }));
  await page.getByRole("button", { name: "Approve" }).click();
  await reads(page).getByText("with changed arguments").waitFor();
  await reads(page).getByText("done", { exact: true }).waitFor();
  await reads(page).getByText("Anything else?").waitFor();
  await reads(page).locator("details.tool summary").first().click();
  await reads(page).getByText("delivered to the letter box").waitFor();
  await reads(page).getByText("grace@example.org").first().waitFor();
  await accessible(page, "tool card");
  await browser.shot(page, "tool-light");

  // Denied with a word, from the place where everything waits.
  await say(page, "eve@example.org");
  await asked.waitFor();
  await page.getByRole("link", { name: /Waiting for you/ }).click();
  await asked.waitFor();
  await accessible(page, "waiting");
  await browser.shot(page, "waiting-light");
  await page.getByLabel("A word to the agent").fill("not today");
  await page.getByRole("button", { name: "Deny" }).click();
  await page.getByText("Nothing waits for you").waitFor();
  await page.goBack();
  await reads(page).getByText("not today", { exact: true }).waitFor();
  await reads(page).getByText("I did not send it.").waitFor();

  // Approved for the rest of the session: the next call does not ask.
  await say(page, "joan@example.org");
  await asked.waitFor();
  await page.getByLabel("Next time").selectOption("session");
  await page.getByRole("button", { name: "Approve" }).click();
  await reads(page).getByText("Anything else?").nth(1).waitFor();
  await say(page, "hedy@example.org");
  await reads(page).getByText("Anything else?").nth(2).waitFor();
}

/** A question as the contract has it; nothing here can ask one yet, so the browser is told that one waits. */
const QUESTION = {
  id: "qst_00000000000000000000000000",
  session: "ses_00000000000000000000000000",
  turn: "trn_00000000000000000000000000",
  text: "Before I begin: **where** shall it run?",
  form: {
    type: "object",
    required: ["where", "nodes"],
    properties: {
      where: { type: "string", title: "Where", enum: ["here", "in the cloud"] },
      nodes: { type: "integer", title: "How many nodes", minimum: 1, maximum: 9 },
      backup: { type: "boolean", title: "With a backup" },
      days: { type: "array", title: "On which days", items: { enum: ["Mon", "Tue", "Wed"] } },
      note: { type: "string", title: "Anything else" },
    },
  },
  expires_at: new Date(Date.now() + 3_600_000).toISOString(),
};

async function answer(page, browser, gateway) {
  let given;
  await page.route("**/api/v1/questions**", async (route) => {
    if (route.request().method() === "POST") given = route.request().postDataJSON();
    await route.fulfill({ json: given ? { items: [], ...QUESTION, ...given } : { items: [QUESTION] } });
  });
  await page.goto(`${gateway.origin}/waiting`);
  await page.getByRole("heading", { name: "A question for you" }).waitFor();
  await page.getByLabel("Where").selectOption({ label: "in the cloud" });
  await page.getByLabel("How many nodes").fill("3");
  await page.getByLabel("With a backup").check();
  await page.getByLabel("Mon").check();
  await page.getByLabel("Wed").check();
  await accessible(page, "question");
  await browser.shot(page, "question-light");
  await page.getByRole("button", { name: "Answer" }).click();
  await page.getByText("Nothing waits for you").waitFor();
  const wanted = { where: "in the cloud", nodes: 3, backup: true, days: ["Mon", "Wed"] };
  check(JSON.stringify(given.answers) === JSON.stringify(wanted), `the answers are ${JSON.stringify(given)}`);
}
