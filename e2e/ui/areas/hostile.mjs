// Hostile texts, as answers, reasoning, what was said, and titles: nothing runs, nothing is asked of anybody.

import { check, reads } from "../kit.mjs";

const EVIL = "http://127.0.0.1:9/evil";
const RUN = "window.pwned=1";

const TAGS = ["script", "img", "svg", "iframe", "object", "embed", "video", "audio", "link", "meta", "base", "form", "style", "math", "details", "input", "body", "template", "marquee", "a"];
const tag = (name) => [
  `<${name} src="${EVIL}" href="${EVIL}" data="${EVIL}" onload="${RUN}" onerror="${RUN}" ontoggle="${RUN}" open autofocus onfocus="${RUN}">${RUN}</${name}>`,
  `text <${name} onerror=${RUN} src=x> and <${name}/onload=${RUN}>`,
  `<${name.toUpperCase()}\n ONERROR='${RUN}' SRC='${EVIL}'`,
];
const SCHEMES = ["javascript:", "JaVaScRiPt:", "java\tscript:", "\u0001javascript:", "&#106;avascript:", "javascript&colon;", "vbscript:", "data:text/html,", "data:image/svg+xml,", "blob:", "file:///", "//127.0.0.1:9/", "\\\\127.0.0.1\\", "view-source:", "ws://127.0.0.1:9/", "intent://x#", "filesystem:http://x/"];
const link = (scheme) => [
  `[press](${scheme}${RUN})`,
  `[press](<${scheme}${RUN}>)`,
  `![see](${scheme}${RUN})`,
  `[press][there]\n\n[there]: ${scheme}${RUN}`,
  `<${scheme}${RUN}>`,
];
const MARKDOWN = [
  `![pixel](${EVIL})`,
  `![pixel](${EVIL} "title\\" onerror=\\"${RUN}")`,
  `[![nested](${EVIL})](${EVIL})`,
  `![pixel][ref]\n\n[ref]: ${EVIL}`,
  `<img src="${EVIL}">`,
  `| a |\n|---|\n| ![x](${EVIL}) <img src=${EVIL}> |`,
  `- ![x](${EVIL})\n  - <iframe src="${EVIL}">`,
  `> <svg><script>${RUN}</script></svg>`,
  `# <img src=x onerror=${RUN}>`,
  `\`\`\`html\n<script>${RUN}</script>\n\`\`\``,
  `\`\`\`mermaid\ngraph TD; A-->B; click A "javascript:${RUN}"\n\`\`\``,
  `\`\`\`"><img src=x onerror=${RUN}>\ncode\n\`\`\``,
  `$\\href{javascript:${RUN}}{x}$ and $$\\includegraphics{${EVIL}}$$`,
  `<!--><img src=x onerror=${RUN}>-->`,
  `<![CDATA[<script>${RUN}</script>]]>`,
  `<x-y onclick=${RUN}>`,
  `&lt;script&gt;${RUN}&lt;/script&gt;`,
  `{@html '<img src=x onerror=${RUN}>'}`,
  `{{constructor.constructor('${RUN}')()}}`,
  `\${${RUN}}`,
  `\u001b]8;;${EVIL}\u0007press\u001b]8;;\u0007 \u001b[31mred\u001b[2J`,
  `invoice\u202Egpj.exe and \u2066hidden\u2069`,
  `[https://bank.example](${EVIL})`,
  `${"[".repeat(5_000)}x${"](y)".repeat(5_000)}`,
  `${"> ".repeat(400)}deep`,
  `${"*a **b ".repeat(2_000)}`,
  `${"<b>".repeat(3_000)}`,
  `${"| a ".repeat(300)}|\n${"|---".repeat(300)}|`,
  "\u0000\ufeff\uffff \ud83d\ude00 \u0301".repeat(20),
  "a".repeat(200_000),
  `</div></main><script>${RUN}</script>`,
  `<style>*{display:none}@import "${EVIL}"</style>`,
  `<meta http-equiv="refresh" content="0;url=${EVIL}">`,
  `<base href="${EVIL}">`,
  `<a href="${EVIL}" ping="${EVIL}" download>x</a>`,
  `<form action="${EVIL}"><input name=q><button>go</button></form>`,
];
export const TEXTS = [...TAGS.flatMap(tag), ...SCHEMES.flatMap(link), ...MARKDOWN];

export async function run({ page, gateway, browser }) {
  check(TEXTS.length >= 180, `only ${TEXTS.length} texts`);
  const id = await gateway.talked("something to begin with");
  const lines = (await gateway.api("GET", `/sessions/${id}/export`, undefined, { raw: true })).trim().split("\n").map((line) => JSON.parse(line));
  const item = lines.find((event) => event.type === "message.completed").item;
  const log = lines.map((event) => {
    if (event.type === "session.created") return { ...event, title: `<img src=x onerror=${RUN}>` };
    if (event.type === "input.accepted") return { ...event, parts: MARKDOWN.map((text) => ({ type: "text", text })) };
    if (event.type !== "message.completed") return event;
    const reasoning = { type: "reasoning", item: item.replace(/(itm_.{15})../, "$1vv"), text: TEXTS.slice(0, 60).join("\n\n") };
    return { ...event, parts: [reasoning, ...TEXTS.map((text) => ({ type: "text", text }))] };
  });
  const session = await gateway.api("POST", "/sessions/import", log.map((event) => JSON.stringify(event)).join("\n"), { "Content-Type": "application/x-ndjson" });
  await page.goto(`${gateway.origin}/s/${session.id}`);
  const talk = reads(page);
  await talk.locator("article .prose").nth(TEXTS.length - 1).waitFor({ state: "attached", timeout: 60_000 });
  await talk.locator("summary").first().click();
  await page.evaluate(() => document.querySelectorAll(".entry").forEach((entry) => (entry.style.contentVisibility = "visible")));
  const found = await page.evaluate(() => ({
    ran: "pwned" in window,
    elements: [...document.querySelectorAll("[aria-label=Conversation] :is(script, iframe, object, embed, form, video, audio, link, meta, base, style, math, template, img)")].map((element) => element.outerHTML.slice(0, 80)),
    links: [...document.querySelectorAll("[aria-label=Conversation] .prose a")].filter((link) => !/^(https?|mailto):/.test(link.href) || link.target !== "_blank" || !/noreferrer/.test(link.rel)).map((link) => link.outerHTML.slice(0, 120)),
    inline: document.querySelectorAll("[onerror], [onload], [onclick], [onfocus]").length,
  }));
  check(!found.ran, "a script ran");
  check(found.elements.length === 0, `elements came of text: ${found.elements.join(" ")}`);
  check(found.links.length === 0, `links lead elsewhere: ${found.links.join(" ")}`);
  check(found.inline === 0, "attributes came of text");
  // Every link that is there is pressed: it opens beside the page, and the page stays.
  const at = page.url();
  await page.evaluate(() => document.querySelectorAll("[aria-label=Conversation] .prose span").forEach((span) => span.click()));
  check(page.url() === at, "the page went elsewhere");
  check(!(await page.evaluate(() => "pwned" in window)), "a script ran when something was pressed");
  await browser.shot(page, "hostile-light");
  await page.goto(`${gateway.origin}/s/${session.id}/log`);
  await page.getByText("message.completed", { exact: true }).waitFor();
  check(!(await page.evaluate(() => "pwned" in window)), "a script ran in the log");
  console.log(`   ${TEXTS.length} hostile texts`);
}
