// Short words that come and go, some with a way back.

export interface Toast {
  id: number;
  text: string;
  kind: "good" | "bad";
  undo?: () => void;
}

/** How long a word stays, in milliseconds: long enough to be read twice. */
const STAYS = 5_000;

class Toasts {
  items = $state.raw<Toast[]>([]);
  #next = 0;
  #pending = new Map<number, () => void>();

  constructor() {
    // Whoever leaves meant what was done.
    addEventListener("pagehide", () => [...this.#pending.values()].forEach((done) => done()));
  }

  good(text: string): void {
    this.#show({ text, kind: "good" }, STAYS);
  }

  bad(text: string): void {
    this.#show({ text, kind: "bad" }, STAYS * 2);
  }

  /** Does it when the time is over, unless somebody wants it back. */
  undoable(text: string, wait: number, { undo, done }: { undo: () => void; done: () => void }): void {
    const id = this.#show({ text, kind: "good", undo: () => {
      this.#pending.delete(id);
      undo();
      this.dismiss(id);
    } }, wait);
    this.#pending.set(id, done);
  }

  dismiss(id: number): void {
    this.items = this.items.filter((toast) => toast.id !== id);
    const done = this.#pending.get(id);
    this.#pending.delete(id);
    done?.();
  }

  #show(toast: Omit<Toast, "id">, stays: number): number {
    const id = this.#next++;
    this.items = [...this.items, { ...toast, id }];
    setTimeout(() => this.dismiss(id), stays);
    return id;
  }
}

export const toasts = new Toasts();
