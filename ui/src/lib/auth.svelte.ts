// Who is signed in. The credential itself is a cookie that no script can read.

import { activity } from "./activity";
import { ApiError, get, onSignedOut, remove, signIn } from "./api";
import { sessions } from "./sessions.svelte";
import { socket } from "./socket.svelte";
import type { Scope, Who } from "./types";
import { waiting } from "./waiting.svelte";

class Auth {
  /** Nothing is known yet; somebody; nobody; or the gateway does not answer. */
  state = $state<"unknown" | "in" | "out" | "away">("unknown");
  who = $state.raw<Who | undefined>();
  /** Somebody was signed in a moment ago. */
  expired = $state(false);

  constructor() {
    onSignedOut(() => this.#out(true));
  }

  /** Asks who is signed in. */
  async find(): Promise<void> {
    try {
      this.who = await get<Who>("/whoami");
      this.state = "in";
      this.expired = false;
      socket.start(() => this.#out(true), () => this.#probe());
      activity.start();
      void sessions.load();
      void waiting.load();
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 401) this.state = "away";
    }
  }

  async signIn(credential: { key: string } | { code: string }): Promise<void> {
    await signIn(credential);
    await this.find();
  }

  async signOut(): Promise<void> {
    await remove("/session");
    this.#out(false);
  }

  may(scope: Scope): boolean {
    return this.who?.scopes.some((own) => own === "admin" || own === scope) ?? false;
  }

  /** Whether somebody is still signed in; a refusal signs out by itself. */
  async #probe(): Promise<void> {
    await get<Who>("/whoami").catch(() => undefined);
  }

  #out(expired: boolean): void {
    this.expired = expired && this.state === "in";
    this.state = "out";
    this.who = undefined;
    socket.stop();
    activity.stop();
  }
}

export const auth = new Auth();
