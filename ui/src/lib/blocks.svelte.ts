// What a conversation is made of, as the page shows it. Each block knows when it changes, so that a new word in one
// touches nothing else.

import { Growing } from "./scalars";
import type { EventOf, Json, Part, Phase, QueuedInput, ToolOutcome, UsageTotal, WaitingOn } from "./types";

/** Text of the model, or its reasoning. */
export class TextBlock {
  text = $state("");
  done = $state(false);
  partial = $state(false);
  /** The event that made it complete: where a fork can begin. */
  seq = $state<number | undefined>();
  #growing = new Growing();

  constructor(
    readonly id: string,
    readonly kind: "text" | "reasoning",
  ) {}

  take(offset: number, piece: string): void {
    if (!this.done && this.#growing.take(offset, piece)) this.text = this.#growing.text;
  }

  finish(text: string, partial = false): void {
    this.text = text;
    this.partial = partial;
    this.done = true;
  }
}

/** A question to a person about one call. */
export interface Asked {
  id: string;
  plan: string;
  /** What it would change as things are, in lines. */
  preview?: string;
  reason: string;
  arguments: Json;
  tool: string;
  requirement: string;
  expiresAt: string;
  decision?: "approve" | "deny";
  by?: string;
  why?: string;
  edited?: boolean;
}

/** A tool call, from its first written argument to its result. */
export class ToolBlock {
  readonly kind = "tool";
  tool = $state("");
  argumentsText = $state("");
  arguments = $state.raw<Json | undefined>();
  output = $state("");
  state = $state<"writing" | "asked" | "running" | "over">("writing");
  outcome = $state<ToolOutcome | undefined>();
  content = $state.raw<Part[]>([]);
  data = $state.raw<Json | undefined>();
  truncated = $state(false);
  duration = $state<number | undefined>();
  startedAt = $state<string | undefined>();
  effect = $state<string | undefined>();
  asked = $state.raw<Asked | undefined>();
  child = $state<string | undefined>();
  call = "";
  #arguments = new Growing();
  #output = new Growing();

  constructor(readonly id: string) {}

  takeArguments(offset: number, piece: string): void {
    if (this.#arguments.take(offset, piece)) this.argumentsText = this.#arguments.text;
  }

  takeOutput(offset: number, piece: string): void {
    if (this.#output.take(offset, piece)) this.output = this.#output.text;
  }
}

export interface QuestionBlock {
  kind: "question";
  id: string;
  text: string;
  form?: Json;
  expiresAt: string;
  /** `null` when nobody answered. */
  answers?: Json;
  by?: string;
}

/** A line that says what happened. */
export interface NoteBlock {
  kind: "note";
  id: string;
  note:
    | { what: "phase"; phase: Phase; note?: string | null }
    | { what: "seed"; event: EventOf<"seed.crystallised"> }
    | { what: "evaluation"; event: EventOf<"evaluation.finished"> }
    | { what: "compacted"; summary: string }
    | { what: "resumed"; attempt: number };
}

export interface SteerBlock {
  kind: "steer";
  id: string;
  parts: Part[];
}

export type Block = TextBlock | ToolBlock | QuestionBlock | NoteBlock | SteerBlock;

export interface Ending {
  kind: "completed" | "failed" | "cancelled";
  at: string;
  usage: UsageTotal;
  code?: string;
  message?: string;
  retryable?: boolean;
  by?: string;
}

/** The work one input set off. */
export class Turn {
  readonly kind = "turn";
  blocks = $state.raw<Block[]>([]);
  model = $state("");
  agent = $state("");
  startedAt = $state<string | undefined>();
  ending = $state.raw<Ending | undefined>();
  waiting = $state.raw<{ on: WaitingOn; since: string } | undefined>();
  tokensOut = $state(0);
  firstSeq = 0;
  #byId = new Map<string, Block>();

  constructor(readonly id: string) {}

  find<B extends Block>(id: string): B | undefined {
    return this.#byId.get(id) as B | undefined;
  }

  add<B extends Block>(block: B): B {
    this.#byId.set(block.id, block);
    this.blocks = [...this.blocks, block];
    return block;
  }

  /** The same block in a new state. */
  replace(block: Block): void {
    this.#byId.set(block.id, block);
    this.blocks = this.blocks.map((other) => (other.id === block.id ? block : other));
  }

  text(id: string, kind: "text" | "reasoning"): TextBlock {
    return this.find<TextBlock>(id) ?? this.add(new TextBlock(id, kind));
  }

  tool(id: string): ToolBlock {
    return this.find<ToolBlock>(id) ?? this.add(new ToolBlock(id));
  }

  byCall(call: string): ToolBlock | undefined {
    return this.blocks.find((block): block is ToolBlock => block.kind === "tool" && block.call === call);
  }
}

/** What a person said, once a turn took it. */
export interface Said {
  kind: "said";
  id: string;
  seq: number;
  parts: Part[];
  author: string;
  at: string;
}

/** A fact about the session itself. */
export interface Fact {
  kind: "fact";
  id: string;
  event: EventOf<"session.updated"> | EventOf<"session.forked">;
}

export type Entry = Said | Turn | Fact;

/** An input that waits. */
export type Queued = Pick<QueuedInput, "input" | "parts" | "overlap" | "at"> & { seq: number; author: string };
