// What a person is about to say, with what is attached.

import type { BlobRef, Overlap } from "./types";

/** A file that is attached and not sent yet. */
export interface Attachment {
  id: number;
  name: string;
  mediaType: string;
  bytes: number;
  /** In base64. */
  data: string;
  /** Something to show, for an image. */
  preview?: string;
}

/** The body of an input, and the name under which a second try is the same submission. */
export interface Sending {
  key: string;
  text: string;
  body: {
    text?: string;
    parts?: object[];
    overlap?: Overlap;
    model?: string;
  };
}

/** Most bytes of one attachment: a body has 32 MiB at most, and base64 takes a third more. */
export const ATTACHMENT_BYTES = 16 << 20;

const SHOWN = /^image\/(png|jpeg|gif|webp)$/;

/** Whether the media type is an image every browser shows and none runs. */
export const isPicture = (mediaType: string): boolean => SHOWN.test(mediaType);

let next = 0;

export async function attach(file: File): Promise<Attachment> {
  const bytes = new Uint8Array(await file.arrayBuffer());
  let binary = "";
  for (let at = 0; at < bytes.length; at += 0x8000) binary += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  const mediaType = file.type || "application/octet-stream";
  const preview = isPicture(mediaType) ? URL.createObjectURL(file) : undefined;
  return { id: next++, name: file.name || "image", mediaType, bytes: bytes.length, data: btoa(binary), preview };
}

export function compose(text: string, attachments: Attachment[], overlap: Overlap | undefined, model: string): Sending {
  const files = attachments.map(({ name, mediaType, data }) =>
    isPicture(mediaType) ? { type: "image", media_type: mediaType, data } : { type: "file", name, media_type: mediaType, data },
  );
  const said = files.length > 0 ? { parts: [...(text ? [{ type: "text", text }] : []), ...files] } : { text };
  return {
    key: crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`,
    text,
    body: { ...said, ...(overlap ? { overlap } : {}), ...(model ? { model } : {}) },
  };
}

/** Under which name an unsent text is kept in this tab. */
export const draftKey = (of: string): string => `draft:${of}`;

/** Where an attachment of a session is read. */
export const blobPath = (session: string, blob: BlobRef): string => `/sessions/${session}/blobs/${blob.hash}`;
