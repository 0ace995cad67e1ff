// Requests to the gateway that served this page, and to nobody else: no address ever comes from outside.

import type { ErrorInfo } from "./types";

const PREFIX = "/api/v1";

/** A refusal of the gateway, or the lack of an answer (`status` 0). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly retryAfter?: number,
  ) {
    super(message);
  }
}

let signedOut = () => {};

/** Calls `then` whenever the gateway says that nobody is signed in. */
export function onSignedOut(then: () => void): void {
  signedOut = then;
}

type Query = Record<string, string | number | boolean | undefined>;

/** A path beneath the door, with a query of what is there. */
export function url(path: string, query: Query = {}): string {
  const pairs = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
  const text = new URLSearchParams(pairs.map(([name, value]) => [name, String(value)])).toString();
  return PREFIX + path + (text ? `?${text}` : "");
}

async function refusal(answer: Response): Promise<ApiError> {
  let info: Partial<ErrorInfo> = {};
  try {
    info = (await answer.json()).error ?? {};
  } catch {
    // Not ours, perhaps a proxy's: the status says enough.
  }
  const message = info.message ?? `the gateway answered ${answer.status}`;
  return new ApiError(answer.status, info.code ?? "internal", message, info.retry_after_s ?? undefined);
}

async function ask(method: string, target: string, body?: BodyInit, headers: Record<string, string> = {}) {
  let answer: Response;
  try {
    answer = await fetch(target, { method, body, headers, credentials: "same-origin", redirect: "error" });
  } catch {
    throw new ApiError(0, "unreachable", "the gateway cannot be reached");
  }
  if (answer.ok) return answer;
  const error = await refusal(answer);
  if (error.status === 401 && target.startsWith(PREFIX)) signedOut();
  throw error;
}

const JSON_TYPE = { "Content-Type": "application/json" };

export async function get<T>(path: string, query?: Query): Promise<T> {
  return (await ask("GET", url(path, query))).json();
}

export async function post<T>(path: string, body: unknown = {}, headers: Record<string, string> = {}): Promise<T> {
  const answer = await ask("POST", url(path), JSON.stringify(body), { ...JSON_TYPE, ...headers });
  return answer.status === 204 ? (undefined as T) : answer.json();
}

export async function patch<T>(path: string, body: unknown): Promise<T> {
  return (await ask("PATCH", url(path), JSON.stringify(body), JSON_TYPE)).json();
}

export async function remove(path: string): Promise<void> {
  await ask("DELETE", url(path));
}

/** Signs in: the gateway sets a cookie that no script can read. */
export async function signIn(with_: { key: string } | { code: string }): Promise<void> {
  await ask("POST", "/signin", JSON.stringify(with_), JSON_TYPE);
}

/** The text of an answer that is not JSON. */
export async function download(path: string): Promise<Blob> {
  return (await ask("GET", url(path))).blob();
}

/** Sends JSON lines. */
export async function sendLines<T>(path: string, lines: string): Promise<T> {
  return (await ask("POST", url(path), lines, { "Content-Type": "application/x-ndjson" })).json();
}

/** What to tell a person about anything that was thrown. */
export function words(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
