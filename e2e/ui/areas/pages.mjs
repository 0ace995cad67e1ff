// The other pages, in light, dark and on a phone; the palette; keys made and revoked.

import { accessible, check } from "../kit.mjs";

const PAGES = ["/live", "/usage", "/setup/agents", "/setup/models", "/setup/tools", "/setup/doors", "/setup/keys", "/setup/config", "/setup/audit"];

export async function run({ page, browser, gateway }) {
  const talked = await gateway.talked("Some **markdown**:\n\n1. one\n2. two\n\n```rust\nfn main() {}\n```", "A talk to look at");
  const all = ["/", `/s/${talked}`, "/waiting", ...PAGES];
  const looks = [
    ["light", { width: 1280, height: 820 }],
    ["dark", { width: 1280, height: 820 }],
    ["phone", { width: 360, height: 740 }],
  ];
  for (const [look, size] of looks) {
    await page.emulateMedia({ colorScheme: look === "dark" ? "dark" : "light", reducedMotion: "reduce" });
    await page.setViewportSize(size);
    for (const path of all) {
      await page.goto(gateway.origin + path);
      await page.locator("main h1, main [role=region]").first().waitFor();
      await page.waitForLoadState("networkidle").catch(() => {});
      await accessible(page, `${path} ${look}`);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      check(wide <= 0, `${path} is ${wide} pixels too wide (${look})`);
      await browser.shot(page, `${path === "/" ? "home" : path.replace(/\W+/g, "-").slice(1, 14)}-${look}`);
    }
  }
  await page.getByRole("button", { name: "Menu" }).click();
  await page.getByRole("link", { name: "Usage" }).waitFor();
  await accessible(page, "menu on a phone");
  await browser.shot(page, "menu-phone");
  await page.keyboard.press("Escape");
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize({ width: 1280, height: 820 });

  await page.keyboard.press("Control+k");
  await page.getByPlaceholder("Go to a session, or type a command").fill("usage");
  await accessible(page, "palette");
  await browser.shot(page, "palette-light");
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/usage$/);
  await page.keyboard.press("?");
  await page.getByRole("dialog", { name: "Keyboard" }).waitFor();
  await accessible(page, "keyboard");
  await page.getByRole("button", { name: "Close" }).click();

  await page.goto(`${gateway.origin}/setup/keys`);
  await page.getByRole("button", { name: "Make a key" }).click();
  await page.getByLabel("What is it for?").fill("a script");
  await accessible(page, "make a key");
  await page.getByRole("button", { name: "Make it" }).click();
  const secret = await page.locator("code", { hasText: "mg_api_" }).innerText();
  await accessible(page, "a new key");
  const with_ = (key) => fetch(`${gateway.origin}/api/v1/whoami`, { headers: { Authorization: `Bearer ${key}` } });
  check((await with_(secret)).ok, "the key does not work");
  await page.getByRole("button", { name: "I have it" }).click();
  const card = page.locator("article", { hasText: "a script" });
  await card.getByRole("button", { name: "Revoke" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Revoke" }).click();
  await card.waitFor({ state: "detached" });
  check((await with_(secret)).status === 401, "the key still works");
}
