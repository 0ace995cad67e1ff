// The gateway's types, as its OpenAPI document has them (`schema.d.ts` is generated), under short names.

import type { components } from "./schema";

type Schemas = components["schemas"];

export type Session = Schemas["SessionBody"];
export type SessionState = Schemas["SessionState"];
/** Where an event stands, when it was written, and whose it is. */
type Place = Pick<Schemas["Envelope"], "epoch" | "seq" | "at" | "session">;
/** An event of a type this page knows. Others are shown in the log and nowhere else. */
export type Envelope = Exclude<Schemas["Event"], { type: "Unknown" }> & Place;
export type Delta = Schemas["Delta"];
export type Notice = Schemas["Notice"];
export type Part = Schemas["Part"];
export type BlobRef = Schemas["BlobRef"];
export type Approval = Schemas["ApprovalBody"];
export type Question = Schemas["QuestionBody"];
export type Agent = Schemas["AgentBody"];
export type Model = Schemas["ModelBody"];
export type Tool = Schemas["ToolSpec"];
export type Key = Schemas["KeyBody"];
export type NewKey = Schemas["NewKeyBody"];
export type Scope = Schemas["ScopeName"];
export type Who = Schemas["WhoBody"];
export type UsageRow = Schemas["UsageRowBody"];
export type UsageTotal = Schemas["UsageTotal"];
export type AuditEntry = Schemas["AuditEntryBody"];
export type Setting = Schemas["SettingBody"];
export type ErrorInfo = Schemas["ErrorInfo"];
export type QueuedInput = Schemas["QueuedInput"];
export type Overlap = Schemas["Overlap"];
export type RememberRule = Schemas["RememberRule"];
export type ToolOutcome = Schemas["ToolOutcome"];
export type WaitingOn = Schemas["WaitingOn"];
export type Phase = Schemas["Phase"];

/** Where a follower stands. */
export type Position = Schemas["Position"];

/** One page of a list. */
export interface Items<T> {
  items: T[];
  next_cursor?: string | null;
}

/** An event of this type, with the fields the gateway gives it. */
export type EventOf<K extends string> = Extract<Envelope, { type: K }>;

/** A JSON value. */
export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };
