// Everything that waits for a person: approvals and questions of all sessions.

import { activity, settled } from "./activity";
import { ApiError, get, words } from "./api";
import { router } from "./router.svelte";
import { t } from "./texts";
import type { Approval, Items, Question } from "./types";

class Waiting {
  approvals = $state.raw<Approval[]>([]);
  questions = $state.raw<Question[]>([]);
  loaded = $state(false);
  error = $state("");
  count = $derived(this.approvals.length + this.questions.length);
  #refresh = settled(() => this.load());

  constructor() {
    activity.listen((event) => {
      if (event === "missed" || /^(approval|question|turn|session\.deleted)/.test(event.type)) this.#refresh();
    });
  }

  /** Tells somebody who looks elsewhere and wished to be told. What it is about stays on the page. */
  #tell(): void {
    const wished = "Notification" in globalThis && Notification.permission === "granted";
    if (!wished || !document.hidden) return;
    const notice = new Notification(t.waiting.newTitle, { tag: "moongate-waiting", icon: "/favicon.svg" });
    notice.onclick = () => {
      focus();
      router.go("/waiting");
      notice.close();
    };
  }

  async load(): Promise<void> {
    try {
      const [approvals, questions] = await Promise.all([
        get<Items<Approval>>("/approvals"),
        get<Items<Question>>("/questions"),
      ]);
      const known = new Set([...this.approvals, ...this.questions].map((one) => one.id as string));
      const fresh = [...approvals.items, ...questions.items].some((one) => !known.has(one.id));
      if (fresh && this.loaded) this.#tell();
      this.approvals = approvals.items;
      this.questions = questions.items;
      this.error = "";
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 401)) this.error = words(error);
    } finally {
      this.loaded = true;
    }
  }
}

export const waiting = new Waiting();
