// The list of sessions: newest activity first, searched, kept true by the stream of what happens.

import { activity, settled } from "./activity";
import { ApiError, get, patch, remove as removeAt, words } from "./api";
import { t } from "./texts";
import { toasts } from "./toasts.svelte";
import type { Envelope, Items, Session } from "./types";

const PAGE = 50;
/** How long a deleted session can be had back, in milliseconds. */
const UNDO_FOR = 6_000;

class Sessions {
  items = $state.raw<Session[]>([]);
  more = $state(false);
  loading = $state(true);
  error = $state("");
  query = $state("");
  archived = $state(false);
  /** Those that are deleted, or about to be: not shown any more. */
  #doomed = new Set<string>();
  #cursor: string | undefined;
  #dirty = new Set<string>();
  #generation = 0;
  #refresh = settled(() => this.#freshen());
  #search = settled(() => this.load(), 180, 600);

  constructor() {
    activity.listen((event) => {
      if (event === "missed") void this.load();
      else this.#happened(event);
    });
  }

  /** Reads the first page again. */
  async load(): Promise<void> {
    const generation = ++this.#generation;
    this.loading = true;
    try {
      const page = await this.#page();
      if (generation !== this.#generation) return;
      this.#show(page.items);
      this.#cursor = page.next_cursor ?? undefined;
      this.more = this.#cursor !== undefined;
      this.error = "";
    } catch (error) {
      if (generation === this.#generation && !(error instanceof ApiError && error.status === 401)) this.error = words(error);
    } finally {
      if (generation === this.#generation) this.loading = false;
    }
  }

  async loadMore(): Promise<void> {
    if (!this.#cursor || this.loading) return;
    const generation = this.#generation;
    this.loading = true;
    try {
      const page = await this.#page(this.#cursor);
      if (generation !== this.#generation) return;
      const known = new Set(this.items.map((item) => item.id));
      this.#show([...this.items, ...page.items.filter((item) => !known.has(item.id))]);
      this.#cursor = page.next_cursor ?? undefined;
      this.more = this.#cursor !== undefined;
    } catch (error) {
      this.error = words(error);
    } finally {
      this.loading = false;
    }
  }

  search(query: string): void {
    this.query = query;
    this.#search();
  }

  showArchived(archived: boolean): void {
    this.archived = archived;
    void this.load();
  }

  /** Puts a session where it belongs in the list. */
  put(session: Session): void {
    const others = this.items.filter((item) => item.id !== session.id);
    const fits = session.archived === this.archived && (this.query === "" || others.length < this.items.length);
    this.#show(fits ? [session, ...others].sort((a, b) => b.updated_at.localeCompare(a.updated_at)) : others);
  }

  async change(id: string, fields: { title?: string; archived?: boolean }): Promise<void> {
    try {
      this.put(await patch<Session>(`/sessions/${id}`, fields));
    } catch (error) {
      toasts.bad(words(error));
    }
  }

  /** Deletes a session after a moment in which it can be had back. */
  delete(session: Session): void {
    this.#doomed.add(session.id);
    this.#show(this.items);
    toasts.undoable(t.sessions.deleted(session.title ?? t.sessions.untitled), UNDO_FOR, {
      undo: () => {
        this.#doomed.delete(session.id);
        this.put(session);
      },
      done: async () => {
        try {
          await removeAt(`/sessions/${session.id}`);
        } catch (error) {
          this.#doomed.delete(session.id);
          toasts.bad(words(error));
          void this.load();
        }
      },
    });
  }

  #page(cursor?: string): Promise<Items<Session>> {
    return get("/sessions", { limit: PAGE, cursor, q: this.query.trim().slice(0, 80), archived: this.archived });
  }

  #show(items: Session[]): void {
    this.items = items.filter((item) => !this.#doomed.has(item.id));
  }

  #happened(event: Envelope): void {
    if (event.type === "session.deleted") {
      // An answer that was on its way brings it back no more.
      this.#doomed.add(event.session);
      this.#show(this.items);
      return;
    }
    this.#dirty.add(event.session);
    this.#refresh();
  }

  async #freshen(): Promise<void> {
    const ids = [...this.#dirty];
    this.#dirty.clear();
    // Very many at once are one list.
    if (ids.length > 8) return this.load();
    for (const id of ids) {
      try {
        this.put(await get<Session>(`/sessions/${id}`));
      } catch (error) {
        if (error instanceof ApiError && error.status === 404) this.#show(this.items.filter((item) => item.id !== id));
      }
    }
  }
}

export const sessions = new Sessions();
