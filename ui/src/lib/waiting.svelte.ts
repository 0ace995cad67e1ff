// Everything that waits for a person: approvals and questions of all sessions.

import { activity, settled } from "./activity";
import { ApiError, get, words } from "./api";
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

  async load(): Promise<void> {
    try {
      const [approvals, questions] = await Promise.all([
        get<Items<Approval>>("/approvals"),
        get<Items<Question>>("/questions"),
      ]);
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
