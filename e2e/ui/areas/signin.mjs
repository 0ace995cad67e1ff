// Signing in, and what a script of the page can learn of it; signing out; the link of the terminal.

import { accessible, check } from "../kit.mjs";

/** Being refused is part of this. */
export const faults = (text) => /status of (401|403)|WebSocket connection/.test(text);

/** What may come over the wire before the page can be used. */
const MOST_BYTES = 250_000;

export async function run({ page, browser, gateway }) {
  await page.goto(gateway.origin);
  await page.getByLabel("Key", { exact: true }).waitFor();
  await accessible(page, "sign-in");
  const loaded = await page.evaluate(() => [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")].reduce((sum, entry) => sum + entry.encodedBodySize, 0));
  console.log(`   the first load is ${Math.round(loaded / 1024)} KiB`);
  check(loaded > 10_000 && loaded < MOST_BYTES, `the first load is ${loaded} bytes`);
  await browser.shot(page, "signin-light");
  await page.getByLabel("Key", { exact: true }).fill("mg_adm_wrong");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("alert").waitFor();

  // The link signs in with one press, once, in a browser of its own.
  const link = await gateway.api("POST", "/signin-links", {});
  const other = await browser.browser.newContext();
  const phone = await browser.page(other);
  await phone.goto(gateway.origin + link.path);
  await phone.getByRole("button", { name: "Sign in" }).waitFor();
  await accessible(phone, "link");
  await phone.getByRole("button", { name: "Sign in" }).click();
  await phone.getByRole("heading", { name: "What shall be done?" }).waitFor();
  check(new URL(phone.url()).pathname === "/", "the code stays in the address");
  const again = await browser.page(await browser.browser.newContext());
  await again.goto(gateway.origin + link.path);
  await again.getByRole("button", { name: "Sign in" }).click();
  await again.getByText("This link does not work any more").waitFor();

  await browser.signIn(page);
  const cookies = await browser.context.cookies();
  const own = cookies.find(({ name }) => name === "__Host-moongate");
  check(own?.httpOnly && own.secure && own.sameSite === "Strict" && own.path === "/", `the cookie: ${JSON.stringify(cookies)}`);
  const seen = await page.evaluate(() => document.cookie + JSON.stringify({ ...localStorage, ...sessionStorage }));
  check(!/mg_/.test(seen), `a script sees a secret: ${seen}`);

  // What the address says is neither read nor shown.
  await page.goto(`${gateway.origin}/?gatewayUrl=http://evil.example&ep=ws://evil.example#endpoint=ws://evil.example`);
  await page.getByRole("heading", { name: "What shall be done?" }).waitFor();

  // Signing out ends the other tab's stream as well, and the cookie with it.
  await phone.getByRole("button", { name: "Sign out" }).click();
  await phone.getByLabel("Key", { exact: true }).waitFor();
  check((await other.cookies()).length === 0, "the cookie is still there");
  await other.close();
}
