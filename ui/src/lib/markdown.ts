// Markdown as tokens. Components show them as elements and text; nothing is ever parsed as HTML, so nothing in an answer
// can run, load or navigate anything.

import { Lexer, type Token } from "marked";

export type { Token };

const OPTIONS = { gfm: true, breaks: false } as const;

/** How deep quotes, lists and emphasis may stand in one another. Deeper text is shown as it is. */
const DEEPEST = 40;

export function lex(text: string): Token[] {
  try {
    const tokens: Token[] = new Lexer(OPTIONS).lex(text);
    if (!isDeeper(tokens, DEEPEST)) return tokens;
  } catch {
    // Nested so deep that reading it exhausts the stack.
  }
  return [{ type: "html", raw: text, text, block: true, pre: false }];
}

function isDeeper(tokens: Token[], left: number): boolean {
  if (left === 0) return tokens.length > 0;
  return tokens.some((token) => {
    const within: Token[] = "tokens" in token ? (token.tokens ?? []) : [];
    const items: Token[] = token.type === "list" ? token.items : [];
    return isDeeper(within, left - 1) || isDeeper(items, left - 1);
  });
}

const NAMED: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0", hellip: "…", mdash: "—", ndash: "–", copy: "©", rarr: "→", larr: "←", times: "×" };

/** The characters entities stand for. */
export function plain(text: string): string {
  if (!text.includes("&")) return text;
  return text.replace(/&(#x[0-9a-f]{1,6}|#\d{1,7}|[a-z]{2,8});/gi, (whole, name: string) => {
    if (!name.startsWith("#")) return NAMED[name.toLowerCase()] ?? whole;
    const code = /^#x/i.test(name) ? Number.parseInt(name.slice(2), 16) : Number.parseInt(name.slice(1), 10);
    return code > 0 && code <= 0x10ffff && !(code >= 0xd800 && code < 0xe000) ? String.fromCodePoint(code) : whole;
  });
}

/** Prose without characters that turn the reading direction of what follows. */
export function prose(text: string): string {
  // eslint-disable-next-line no-control-regex
  return plain(text).replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, (found) =>
    `\u27e8U+${found.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}\u27e9`,
  );
}

const SCHEMES = new Set(["http:", "https:", "mailto:"]);

/** Where a link may lead; nothing for any other scheme, or none. */
export function target(href: string): URL | undefined {
  // What a browser would take out before it reads the scheme is refused instead.
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u0020\u007f-\u009f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\\]/.test(href)) return undefined;
  const url = URL.canParse(plain(href)) ? new URL(plain(href)) : undefined;
  return url && SCHEMES.has(url.protocol) && !url.username && !url.password ? url : undefined;
}

/** Markdown that is still being written: what is complete is read once, only the end again. */
export class Streamed {
  chunks: Token[][] = [];
  tail: Token[] = [];
  tailLength = 0;
  #read = "";

  update(text: string): void {
    if (!text.startsWith(this.#read)) {
      this.#read = "";
      this.chunks = [];
    }
    const rest = text.slice(this.#read.length);
    const end = lastBreak(rest);
    if (end > 0) {
      this.chunks = [...this.chunks, lex(rest.slice(0, end))];
      this.#read = text.slice(0, this.#read.length + end);
    }
    this.tailLength = rest.length - end;
    this.tail = lex(rest.slice(end));
  }
}

/** After the last blank line that surely ends a block: outside of code, and before neither list, quote, table nor indent. */
function lastBreak(text: string): number {
  let fence = "";
  let at = 0;
  let found = 0;
  let blank = false;
  while (at < text.length) {
    const end = text.indexOf("\n", at);
    if (end < 0) {
      // The last line is not complete: what it begins is only known by its first character.
      if (blank && !fence && /^[^\s>|*+\-\d`~]/.test(text.slice(at))) found = at;
      break;
    }
    const line = text.slice(at, end);
    const mark = /^ {0,3}(`{3,}|~{3,})/.exec(line)?.[1];
    if (blank && !fence && line.trim() !== "" && /^[^\s>|*+\-\d]/.test(line)) found = at;
    if (mark && !fence) fence = mark;
    else if (mark && fence && mark[0] === fence[0] && mark.length >= fence.length && line.trim() === mark) fence = "";
    blank = line.trim() === "";
    at = end + 1;
  }
  return found;
}
