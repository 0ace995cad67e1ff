// One session on the page: the end of its log, more of it when asked for, and what happens from then on.

import { get, words } from "./api";
import { Fold } from "./fold.svelte";
import { socket } from "./socket.svelte";
import type { Delta, Envelope, Notice, Position, Session } from "./types";

/** Events that are read at first, enough to fill a screen and few enough to open at once; and of each page before. */
const FIRST = 160;
const PAGE = 300;
/** How often pieces are shown while the page is hidden and no frame is drawn, in milliseconds. */
const HIDDEN_FRAME = 500;

interface EventPage {
  items: Envelope[];
  position: Position;
  more: boolean;
}

type Happening = { event: Envelope } | { delta: Delta } | { notice: Notice };

export class Conversation {
  fold = $state.raw(new Fold());
  session = $state.raw<Session | undefined>();
  state = $state<"opening" | "open" | "missing">("opening");
  error = $state("");
  loadingEarlier = $state(false);
  /** All events there are here, oldest first: the log's end. */
  events = $state.raw<Envelope[]>([]);
  hasEarlier = $derived((this.events[0]?.seq ?? 1) > 1);
  #epoch = "";
  #stop: (() => void) | undefined;
  #waiting: Happening[] = [];
  #scheduled = false;
  #closed = false;

  constructor(readonly id: string) {}

  async open(): Promise<void> {
    try {
      const session = await get<Session>(`/sessions/${this.id}`);
      this.session = session;
      const { epoch, seq } = session.head;
      const events = await this.#read(epoch, Math.max(0, seq - FIRST), seq);
      if (this.#closed) return;
      this.#start(epoch, events);
      this.fold.title ??= session.title;
      this.fold.agent ||= session.agent;
      this.fold.archived = session.archived;
      this.state = "open";
      this.#follow();
    } catch (error) {
      this.#gone(words(error));
    }
  }

  close(): void {
    this.#closed = true;
    this.#stop?.();
  }

  /** Reads what stands before. */
  async loadEarlier(): Promise<void> {
    const first = this.events[0]?.seq ?? 1;
    if (first <= 1 || this.loadingEarlier) return;
    this.loadingEarlier = true;
    try {
      const earlier = await this.#read(this.#epoch, Math.max(0, first - 1 - PAGE), first - 1);
      // What came meanwhile is in `events` already.
      const { title, agent, archived } = this.fold;
      const waiting = this.fold.running?.waiting;
      this.#start(this.#epoch, [...earlier, ...this.events]);
      Object.assign(this.fold, { title, agent, archived });
      if (this.fold.running) this.fold.running.waiting = waiting;
      // Pieces of what is being written come again from their beginning.
      this.#stop?.();
      this.#follow();
    } catch (error) {
      this.error = words(error);
    } finally {
      this.loadingEarlier = false;
    }
  }

  #follow(): void {
    this.#stop = socket.follow(this.id, {
      after: () => this.#position(),
      event: (event) => this.#later({ event }),
      delta: (delta) => this.#later({ delta }),
      notice: (notice) => this.#later({ notice }),
      reset: () => void this.#again(),
      gone: (message) => this.#gone(message),
    });
  }

  #position(): string | undefined {
    const seq = this.events.at(-1)?.seq;
    return seq === undefined ? undefined : `${this.#epoch}.${seq}`;
  }

  async #read(epoch: string, after: number, upTo: number): Promise<Envelope[]> {
    const items: Envelope[] = [];
    while (after < upTo) {
      const page = await get<EventPage>(`/sessions/${this.id}/events`, { after: `${epoch}.${after}`, limit: PAGE });
      if (page.items.length === 0) break;
      items.push(...page.items.filter((event) => event.seq <= upTo));
      after = page.items.at(-1)?.seq ?? upTo;
    }
    return items;
  }

  #start(epoch: string, events: Envelope[]): void {
    this.#epoch = epoch;
    const fold = new Fold();
    for (const event of events) fold.event(event);
    this.events = events;
    this.fold = fold;
  }

  /** The log's tail was lost, or it is another log: everything again. */
  async #again(): Promise<void> {
    this.#stop?.();
    this.#waiting = [];
    await this.open();
  }

  #gone(message: string): void {
    this.#stop?.();
    if (this.state === "opening") this.state = "missing";
    this.error = message;
  }

  /** Shown with the next frame, all that came until then at once. */
  #later(happening: Happening): void {
    this.#waiting.push(happening);
    if (this.#scheduled) return;
    this.#scheduled = true;
    const show = () => this.#show();
    if (document.visibilityState === "visible") requestAnimationFrame(show);
    else setTimeout(show, HIDDEN_FRAME);
  }

  #show(): void {
    this.#scheduled = false;
    const happenings = this.#waiting;
    this.#waiting = [];
    const fresh: Envelope[] = [];
    let last = this.events.at(-1)?.seq ?? 0;
    for (const happening of happenings) {
      if ("delta" in happening) this.fold.delta(happening.delta);
      else if ("notice" in happening) this.fold.notice(happening.notice);
      else if (happening.event.seq > last || happening.event.epoch !== this.#epoch) {
        last = happening.event.seq;
        this.#epoch = happening.event.epoch;
        fresh.push(happening.event);
        this.fold.event(happening.event);
      }
    }
    if (fresh.length > 0) this.events = [...this.events, ...fresh];
  }
}
