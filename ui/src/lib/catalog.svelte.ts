// What there is to talk to: agents and models. Read once, and again when asked.

import { get } from "./api";
import type { Agent, Items, Model } from "./types";

class Catalog {
  agents = $state.raw<Agent[]>([]);
  models = $state.raw<Model[]>([]);
  #asked = false;

  /** Reads it, where that was not done yet. What cannot be read leaves the lists empty. */
  async need(): Promise<void> {
    if (this.#asked) return;
    this.#asked = true;
    try {
      const [agents, models] = await Promise.all([get<Items<Agent>>("/agents"), get<Items<Model>>("/models")]);
      this.agents = agents.items;
      this.models = models.items;
    } catch {
      this.#asked = false;
    }
  }

  get defaultAgent(): Agent | undefined {
    return this.agents.find((agent) => agent.default) ?? this.agents[0];
  }
}

export const catalog = new Catalog();
