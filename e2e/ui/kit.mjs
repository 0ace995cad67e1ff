// A gateway of our own, a browser, and what every area needs of them.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRequire } from "node:module";

import { chromium } from "playwright-core";

const require = createRequire(import.meta.url);
const AXE = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

/** How long anything that has to happen may take, in milliseconds. */
export const SOON = 15_000;

const CONFIG = `default_agent = "main"

[agents.main]
model = "builtin/demo"
delegates = ["scout"]

[agents.scout]
model = "builtin/demo"
`;

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  return port;
}

/** The real binary with the demo model. */
export class Gateway {
  constructor(binary) {
    this.binary = binary;
    this.home = mkdtempSync(join(tmpdir(), "moongate-ui-"));
    this.data = join(this.home, "data");
    this.config = join(this.home, "moongate.toml");
    writeFileSync(this.config, CONFIG);
  }

  async start() {
    this.port ??= await freePort();
    this.origin = `http://127.0.0.1:${this.port}`;
    const options = ["--config", this.config, "--data", this.data, "--listen", `127.0.0.1:${this.port}`];
    this.process = spawn(this.binary, [...options, "serve"], { stdio: ["ignore", "ignore", "inherit"] });
    await answers(this);
    this.key = readFileSync(join(this.data, "admin.key"), "utf8").trim();
  }

  /** Ends it at once, as a crash would. */
  async kill() {
    const ended = once(this.process, "exit");
    this.process.kill("SIGKILL");
    await ended;
  }

  async api(method, path, body, headers = {}) {
    const answer = await fetch(`${this.origin}/api/v1${path}`, {
      method,
      headers: { Authorization: `Bearer ${this.key}`, "Content-Type": "application/json", ...headers },
      body: body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    const text = await answer.text();
    return headers.raw || !text.startsWith("{") || text.includes("\n{") ? text : JSON.parse(text);
  }

  /** A session in which this was said and answered. */
  async talked(text, title) {
    const session = await this.api("POST", "/sessions", title ? { title } : {});
    await this.api("POST", `/sessions/${session.id}/inputs`, { text }, { Prefer: "wait=30" });
    return session.id;
  }
}

/** A gateway whose agent asks before it does what it is told. */
export class Asking {
  constructor(binary) {
    this.binary = binary;
    this.home = mkdtempSync(join(tmpdir(), "moongate-ui-"));
  }

  async start() {
    const port = await freePort();
    this.origin = `http://127.0.0.1:${port}`;
    const file = join(this.home, "key");
    this.process = spawn(this.binary, [String(port), file], { stdio: ["ignore", "ignore", "inherit"] });
    await answers(this);
    this.key = readFileSync(file, "utf8").trim();
  }

  async kill() {
    const ended = once(this.process, "exit");
    this.process.kill("SIGKILL");
    await ended;
  }
}

async function answers({ origin, process }) {
  const until = Date.now() + SOON;
  while (!(await fetch(`${origin}/readyz`).then((answer) => answer.ok, () => false))) {
    if (Date.now() > until || process.exitCode !== null) throw new Error("the gateway does not start");
    await new Promise((then) => setTimeout(then, 50));
  }
}

/** A browser whose every request and complaint is written down. */
export class Browser {
  constructor(executablePath, gateway, out) {
    Object.assign(this, { executablePath, gateway, out });
    mkdirSync(out, { recursive: true });
  }

  async start() {
    this.browser = await chromium.launch({
      executablePath: this.executablePath,
      args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"],
    });
    this.context = await this.browser.newContext({ viewport: { width: 1280, height: 820 }, colorScheme: "light" });
    await this.context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: this.gateway.origin });
  }

  /** A tab. What goes wrong in it is kept in `faults`, what it asks of others in `strangers`. */
  async page(context = this.context, gateway = this.gateway) {
    const page = await context.newPage();
    page.home = gateway.origin;
    page.setDefaultTimeout(SOON);
    page.faults = [];
    page.strangers = [];
    page.on("pageerror", (error) => page.faults.push(String(error)));
    page.on("console", (message) => message.type() === "error" && page.faults.push(message.text()));
    page.on("dialog", (dialog) => {
      page.faults.push(`a dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    page.on("request", (request) => {
      const url = request.url();
      if (!url.startsWith(page.home) && !/^(data|blob):/.test(url)) page.strangers.push(url);
    });
    return page;
  }

  async signIn(page, gateway = this.gateway) {
    await page.goto(`${gateway.origin}/`);
    await page.getByLabel("Key", { exact: true }).fill(gateway.key);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("heading", { name: "What shall be done?" }).waitFor();
  }

  shot(page, name) {
    return page.screenshot({ path: join(this.out, `${name}.png`) });
  }
}

/** Everything axe-core finds on the page as it is. */
export async function accessible(page, what) {
  // Our policy allows no foreign script: the tool comes in beside it, by the debugger.
  const found = await page.evaluate(`${AXE}; axe.run(document, { resultTypes: ["violations"] })`);
  const wrong = found.violations.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join(" | ")}`);
  check(wrong.length === 0, `${what}: ${wrong.join("; ")}`);
}

export function check(holds, otherwise) {
  if (!holds) throw new Error(otherwise);
}

/** Says something on the page. */
export async function say(page, text) {
  await page.getByLabel("Your message").fill(text);
  await page.getByRole("button", { name: "Send", exact: true }).click();
}

/** What a person reads of the conversation. */
export const reads = (page) => page.getByRole("region", { name: "Conversation" });
