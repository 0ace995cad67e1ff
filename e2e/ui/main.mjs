// `cargo xtask e2e ui`: the web page, driven in Chromium against the real binary with the demo model.
//
// MOONGATE, ASKING (the example `asking_agent`) and CHROMIUM name the programs, OUT the folder for screenshots. Areas named as arguments run alone.

import { Browser, check, Gateway } from "./kit.mjs";
import * as conversation from "./areas/conversation.mjs";
import * as hostile from "./areas/hostile.mjs";
import * as long from "./areas/long.mjs";
import * as pages from "./areas/pages.mjs";
import * as people from "./areas/people.mjs";
import * as resume from "./areas/resume.mjs";
import * as sessions from "./areas/sessions.mjs";
import * as signin from "./areas/signin.mjs";

const AREAS = { signin, conversation, people, sessions, pages, resume, hostile, long };

const { MOONGATE, CHROMIUM, OUT = "target/e2e/ui" } = process.env;
const wanted = process.argv.slice(2);
const gateway = new Gateway(MOONGATE);
await gateway.start();
const browser = new Browser(CHROMIUM, gateway, OUT);
let failed = false;
try {
  await browser.start();
  for (const [name, area] of Object.entries(AREAS)) {
    if (wanted.length > 0 && name !== "signin" && !wanted.includes(name)) continue;
    const page = await browser.page();
    const began = performance.now();
    try {
      await area.run({ page, browser, gateway });
      const expected = area.faults ?? (() => false);
      const faults = page.faults.filter((fault) => !expected(fault));
      check(faults.length === 0, `the browser complained: ${faults.join("; ")}`);
      check(page.strangers.length === 0, `it asked others: ${page.strangers.join(", ")}`);
      console.log(`ok: ${name} (${((performance.now() - began) / 1000).toFixed(1)} s)`);
    } catch (error) {
      failed = true;
      console.error(`FAILED: ${name}: ${error.stack}`);
      await browser.shot(page, `failed-${name}`).catch(() => {});
    }
    await page.close();
  }
} finally {
  await browser.browser?.close();
  await gateway.kill();
}
process.exitCode = failed ? 1 : 0;
