// A session's log, folded to what the page shows. Pure but for the state it holds: the same events give the same page.

import { TextBlock, ToolBlock, Turn, type Entry, type Queued } from "./blocks.svelte";
import type { Delta, Envelope, EventOf, Json, Notice, Part } from "./types";

export class Fold {
  entries = $state.raw<Entry[]>([]);
  queue = $state.raw<Queued[]>([]);
  running = $state.raw<Turn | undefined>();
  title = $state<string | null | undefined>();
  agent = $state("");
  archived = $state(false);
  deleted = $state(false);
  #turns = new Map<string, Turn>();

  event(event: Envelope): void {
    switch (event.type) {
      case "session.created":
        this.title = event.title;
        this.agent = event.agent;
        return;
      case "session.updated":
        return this.#updated(event);
      case "session.forked":
        this.entries = [...this.entries, { kind: "fact", id: `seq${event.seq}`, event }];
        return;
      case "session.deleted":
        this.deleted = true;
        return;
      case "input.accepted":
        this.queue = [...this.queue, { ...event, overlap: event.overlap ?? "queue" }];
        return;
      case "input.withdrawn":
        this.queue = this.queue.filter((waiting) => waiting.input !== event.input);
        return;
      case "turn.started":
        return this.#started(event);
      default:
        if ("turn" in event && typeof event.turn === "string") this.#inTurn(this.turn(event.turn), event);
    }
  }

  delta(delta: Delta): void {
    const turn = this.turn(delta.turn);
    if (turn.ending) return;
    switch (delta.kind) {
      case "text":
      case "reasoning":
        return turn.text(delta.item, delta.kind).take(delta.offset, delta.text);
      case "tool_arguments": {
        const block = turn.tool(delta.item);
        if (delta.tool) block.tool = delta.tool;
        return block.takeArguments(delta.offset, delta.text);
      }
      case "tool_output":
        return turn.tool(delta.item).takeOutput(delta.offset, delta.text);
    }
  }

  notice(notice: Notice): void {
    if (notice.notice === "waiting") this.turn(notice.turn).waiting = { on: notice.on, since: notice.since };
  }

  /** The turn of this id; made where the log was entered in its middle. */
  turn(id: string): Turn {
    const known = this.#turns.get(id);
    if (known) return known;
    const turn = new Turn(id);
    this.#turns.set(id, turn);
    this.entries = [...this.entries, turn];
    this.running = turn;
    return turn;
  }

  #updated(event: EventOf<"session.updated">): void {
    if (event.title !== undefined) this.title = event.title;
    if (event.agent) this.agent = event.agent;
    if (event.archived !== undefined && event.archived !== null) this.archived = event.archived;
    const tells = event.agent || event.policy || typeof event.auto_approve === "boolean";
    if (tells) this.entries = [...this.entries, { kind: "fact", id: `seq${event.seq}`, event }];
  }

  #started(event: EventOf<"turn.started">): void {
    const taken = this.queue.filter((waiting) => event.inputs.includes(waiting.input));
    this.queue = this.queue.filter((waiting) => !event.inputs.includes(waiting.input));
    const said = taken.map(({ input, seq, parts, author, at }) => ({ kind: "said" as const, id: input, seq, parts, author, at }));
    this.entries = [...this.entries, ...said];
    const turn = this.turn(event.turn);
    turn.startedAt = event.at;
    turn.firstSeq = event.seq;
    turn.model = event.agent.model;
    turn.agent = event.agent.agent;
  }

  #inTurn(turn: Turn, event: Envelope): void {
    switch (event.type) {
      case "message.completed":
        return this.#message(turn, event);
      case "tool.called":
        return called(turn, event);
      case "tool.finished":
        return finished(turn, event);
      case "approval.requested":
        return asked(turn, event);
      case "approval.resolved":
        return resolved(turn, event);
      case "delegation.started": {
        const block = turn.byCall(event.call);
        if (block) block.child = event.child;
        return;
      }
      case "usage.recorded":
        turn.tokensOut += event.tokens.output;
        return;
      case "turn.completed":
      case "turn.failed":
      case "turn.cancelled":
        return this.#ended(turn, event);
      default:
        return told(turn, event);
    }
  }

  #message(turn: Turn, event: EventOf<"message.completed">): void {
    if (event.role === "user") {
      this.queue = this.queue.filter((waiting) => waiting.input !== event.input);
      turn.add({ kind: "steer", id: event.item, parts: event.parts });
      return;
    }
    // What was streamed as one text may have been several. In the order they were said: here nothing may have streamed.
    let texts = 0;
    for (const part of event.parts) {
      if (part.type !== "text") {
        messagePart(turn, part);
        continue;
      }
      const block = turn.text(texts === 0 ? event.item : `${event.item}:${texts}`, "text");
      block.finish(part.text, event.partial ?? false);
      block.seq = event.seq;
      texts++;
    }
  }

  #ended(turn: Turn, event: EventOf<"turn.completed"> | EventOf<"turn.failed"> | EventOf<"turn.cancelled">): void {
    const kind = event.type === "turn.completed" ? "completed" : event.type === "turn.failed" ? "failed" : "cancelled";
    const failed = event.type === "turn.failed" ? { code: event.code, message: event.message, retryable: event.retryable } : {};
    const by = event.type === "turn.cancelled" ? { by: event.by } : {};
    turn.ending = { kind, at: event.at, usage: event.usage, ...failed, ...by };
    turn.waiting = undefined;
    for (const block of turn.blocks) {
      if (block instanceof TextBlock && !block.done) block.finish(block.text, true);
      if (block instanceof ToolBlock && block.state !== "over") block.state = "over";
    }
    if (this.running === turn) this.running = undefined;
  }
}

function messagePart(turn: Turn, part: Part): void {
  if (part.type === "reasoning") turn.text(part.item, "reasoning").finish(part.text);
  if (part.type !== "tool_call") return;
  const block = turn.tool(part.item);
  block.tool = part.tool;
  block.call = part.call;
  block.arguments = part.arguments as Json;
}

function called(turn: Turn, event: EventOf<"tool.called">): void {
  const block = turn.tool(event.item);
  block.tool = event.tool;
  block.call = event.call;
  block.arguments = event.arguments as Json;
  block.effect = event.effect;
  block.startedAt = event.at;
  block.state = "running";
}

function finished(turn: Turn, event: EventOf<"tool.finished">): void {
  const block = turn.tool(event.item);
  block.call = event.call;
  block.state = "over";
  block.outcome = event.outcome;
  block.content = event.content;
  block.data = event.data as Json | undefined;
  block.truncated = event.truncated ?? false;
  block.duration = event.duration_ms;
}

function asked(turn: Turn, event: EventOf<"approval.requested">): void {
  const block = turn.byCall(event.call) ?? turn.tool(event.approval);
  block.call = event.call;
  block.tool ||= event.tool ?? "";
  block.state = "asked";
  block.asked = {
    id: event.approval,
    plan: event.plan,
    preview: event.preview ?? undefined,
    reason: event.reason,
    arguments: (event.arguments ?? {}) as Json,
    tool: event.tool ?? block.tool,
    requirement: event.requirement ?? "unless_auto_approved",
    expiresAt: event.expires_at,
  };
}

function resolved(turn: Turn, event: EventOf<"approval.resolved">): void {
  const block = turn.blocks.find((b): b is ToolBlock => b instanceof ToolBlock && b.asked?.id === event.approval);
  if (!block?.asked) return;
  block.asked = {
    ...block.asked,
    decision: event.decision,
    by: event.by,
    why: event.reason ?? undefined,
    edited: Boolean(event.arguments),
  };
  if (block.state === "asked") block.state = "running";
}

function told(turn: Turn, event: Envelope): void {
  const id = `seq${event.seq}`;
  switch (event.type) {
    case "turn.resumed":
      turn.add({ kind: "note", id, note: { what: "resumed", attempt: event.attempt } });
      return;
    case "phase.entered":
      turn.add({ kind: "note", id, note: { what: "phase", phase: event.phase, note: event.note } });
      return;
    case "seed.crystallised":
      turn.add({ kind: "note", id, note: { what: "seed", event } });
      return;
    case "evaluation.finished":
      turn.add({ kind: "note", id, note: { what: "evaluation", event } });
      return;
    case "context.compacted":
      turn.add({ kind: "note", id, note: { what: "compacted", summary: event.summary } });
      return;
    case "question.asked":
      turn.add({ kind: "question", id: event.question, text: event.text, form: event.form as Json, expiresAt: event.expires_at });
      return;
    case "question.answered": {
      const question = turn.find(event.question);
      if (question?.kind === "question") turn.replace({ ...question, answers: event.answers as Json, by: event.by });
    }
  }
}
