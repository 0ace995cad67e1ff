// The one WebSocket of the page: follows sessions, comes back by itself, and says how it stands.

import type { Delta, Envelope, Notice, Position } from "./types";

/** What somebody who follows a session is told. */
export interface Follower {
  /** The last event it has; asked each time the socket comes back. */
  after(): string | undefined;
  event(event: Envelope): void;
  delta(delta: Delta): void;
  notice(notice: Notice): void;
  /** Forget everything: the log starts anew after this position. */
  reset(position: Position): void;
  /** The session cannot be followed (any more). */
  gone(message: string): void;
}

export type Link = "connecting" | "open" | "lost";

interface Frame {
  type: string;
  ref?: string;
  session?: string;
  event?: Envelope;
  delta?: Delta;
  notice?: Notice;
  epoch?: string;
  seq?: number;
  error?: { code: string; message: string };
}

/** First and longest wait before the next try, in milliseconds. */
const FIRST_WAIT = 400;
const LONGEST_WAIT = 15_000;
/** How often the server is asked whether it is there, and how long it may take: a laptop that slept finds out. */
const PING_EVERY = 20_000;
const PONG_WITHIN = 8_000;
/** The key ended; there is no sense in coming back. */
const KEY_ENDED = 4001;

class Socket {
  link = $state<Link>("connecting");
  /** When it is tried again, where it is lost. */
  retryAt = $state(0);

  #socket: WebSocket | undefined;
  #followers = new Map<string, Follower>();
  #wait = FIRST_WAIT;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #ping: ReturnType<typeof setInterval> | undefined;
  #silence: ReturnType<typeof setTimeout> | undefined;
  #wanted = false;
  #ended: () => void = () => {};
  #probe: () => Promise<void> = async () => {};

  constructor() {
    addEventListener("online", () => this.#hurry());
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.#hurry());
  }

  /** Opens it, and keeps it open until `stop`. Before each new try `probe` asks whether somebody is still signed in. */
  start(ended: () => void, probe: () => Promise<void>): void {
    [this.#ended, this.#probe] = [ended, probe];
    if (this.#wanted) return;
    this.#wanted = true;
    this.#open();
  }

  stop(): void {
    this.#wanted = false;
    this.#drop();
  }

  /** Follows a session; the returned function ends that. */
  follow(session: string, follower: Follower): () => void {
    this.#followers.set(session, follower);
    this.#subscribe(session, follower);
    return () => {
      if (this.#followers.get(session) !== follower) return;
      this.#followers.delete(session);
      this.#say({ type: "unsubscribe", session });
    };
  }

  /** Tries at once instead of waiting. */
  retry(): void {
    if (!this.#wanted || this.link === "open") return;
    this.#wait = FIRST_WAIT;
    void this.#again();
  }

  /** A browser does not say why a socket was refused; a request does. */
  async #again(): Promise<void> {
    clearTimeout(this.#retry);
    await this.#probe();
    if (this.#wanted && this.link !== "open") this.#open();
  }

  #open(): void {
    this.#drop();
    this.link = this.link === "lost" ? "lost" : "connecting";
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/api/v1/ws`, "moongate.v1");
    this.#socket = socket;
    socket.onopen = () => {
      this.link = "open";
      this.#wait = FIRST_WAIT;
      for (const [session, follower] of this.#followers) this.#subscribe(session, follower);
      this.#ping = setInterval(() => this.#ask(), PING_EVERY);
    };
    socket.onmessage = ({ data }) => {
      clearTimeout(this.#silence);
      this.#silence = undefined;
      this.#take(JSON.parse(data));
    };
    socket.onclose = ({ code }) => this.#lost(code);
  }

  #drop(): void {
    clearTimeout(this.#retry);
    clearInterval(this.#ping);
    clearTimeout(this.#silence);
    this.#silence = undefined;
    if (!this.#socket) return;
    this.#socket.onclose = this.#socket.onmessage = this.#socket.onopen = null;
    this.#socket.close();
    this.#socket = undefined;
  }

  #lost(code: number): void {
    this.#drop();
    if (!this.#wanted) return;
    this.link = "lost";
    if (code === KEY_ENDED) return this.#ended();
    // Not all at the same moment after a restart.
    const wait = this.#wait * (0.7 + Math.random() * 0.6);
    this.#wait = Math.min(this.#wait * 2, LONGEST_WAIT);
    this.retryAt = Date.now() + wait;
    this.#retry = setTimeout(() => void this.#again(), wait);
  }

  /** The machine woke up or the network came back: what seemed open may be dead. */
  #hurry(): void {
    if (!this.#wanted) return;
    if (this.link === "open") this.#ask();
    else this.retry();
  }

  #ask(): void {
    this.#say({ type: "ping" });
    this.#silence ??= setTimeout(() => this.#lost(0), PONG_WITHIN);
  }

  #subscribe(session: string, follower: Follower): void {
    const after = follower.after();
    this.#say({ type: "subscribe", ref: session, session, ...(after ? { after } : {}) });
  }

  #say(frame: object): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
  }

  #take(frame: Frame): void {
    const session = frame.event?.session ?? frame.delta?.session ?? frame.session ?? frame.ref;
    const notice = frame.notice;
    if (notice) {
      const about = "session" in notice ? [this.#followers.get(notice.session)] : [...this.#followers.values()];
      for (const follower of about) follower?.notice(notice);
      return;
    }
    const follower = session ? this.#followers.get(session) : undefined;
    if (!follower) return;
    if (frame.event) follower.event(frame.event);
    else if (frame.delta) follower.delta(frame.delta);
    else if (frame.type === "reset") follower.reset({ epoch: frame.epoch ?? "", seq: frame.seq ?? 0 } as Position);
    else if (frame.type === "error" && frame.error) follower.gone(frame.error.message);
  }
}

export const socket = new Socket();
