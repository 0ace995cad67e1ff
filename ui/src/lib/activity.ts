// What happens in all sessions the caller may see: one stream, told to whoever wants to know.

import { url } from "./api";
import type { Envelope } from "./types";

/** How long until a stream that was refused is asked for again, in milliseconds. */
const AGAIN = 3_000;

type Listener = (event: Envelope | "missed") => void;

const listeners = new Set<Listener>();

/** Events that change what lists show. */
const TYPES = [
  "session.created", "session.updated", "session.forked", "session.deleted", "input.accepted", "input.withdrawn",
  "turn.started", "turn.resumed", "turn.completed", "turn.failed", "turn.cancelled", "approval.requested",
  "approval.resolved", "question.asked", "question.answered", "usage.recorded", "tool.called", "tool.finished",
] as const;

let source: EventSource | undefined;
let wanted = false;

function tell(event: Envelope | "missed"): void {
  for (const listener of listeners) listener(event);
}

function open(): void {
  if (source || !wanted || document.visibilityState === "hidden") return;
  source = new EventSource(url("/events", { types: TYPES.join(",") }));
  // Whatever happened until now was not seen.
  source.onopen = () => tell("missed");
  source.addEventListener("reset", () => tell("missed"));
  for (const type of TYPES) source.addEventListener(type, ({ data }) => tell(JSON.parse(data)));
  source.onerror = () => {
    // A browser gives up on a refusal; the gateway may only be restarting.
    if (source?.readyState !== EventSource.CLOSED) return;
    close();
    setTimeout(open, AGAIN);
  };
}

function close(): void {
  source?.close();
  source = undefined;
}

// A hidden tab needs no stream of its own: a browser has few connections for all tabs.
document.addEventListener("visibilitychange", () => (document.visibilityState === "hidden" ? close() : open()));

export const activity = {
  start(): void {
    wanted = true;
    open();
  },
  stop(): void {
    wanted = false;
    close();
  },
  /** Calls `listener` with each event, and with `missed` when lists have to be read again. */
  listen(listener: Listener): () => void {
    listeners.add(listener);
    return () => listeners.delete(listener);
  },
};

/** A function that is run once things are quiet for a moment, and now and then while they are not. */
export function settled(run: () => void, wait = 120, most = 1_000): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let first = 0;
  return () => {
    const now = Date.now();
    if (timer) clearTimeout(timer);
    else first = now;
    timer = setTimeout(() => {
      timer = undefined;
      run();
    }, Math.max(0, Math.min(wait, first + most - now)));
  };
}
