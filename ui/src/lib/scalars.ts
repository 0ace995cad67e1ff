// Offsets of the gateway count Unicode scalar values; strings of the browser count UTF-16 units.

/** Number of scalar values of a text. */
export function count(text: string): number {
  let found = 0;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit >= 0xd800 && unit < 0xdc00 && at + 1 < text.length) at++;
    found++;
  }
  return found;
}

/** The UTF-16 index of the scalar value with this number. */
export function index(text: string, scalar: number): number {
  let at = 0;
  for (let passed = 0; passed < scalar && at < text.length; passed++) {
    const unit = text.charCodeAt(at);
    at += unit >= 0xd800 && unit < 0xdc00 && at + 1 < text.length ? 2 : 1;
  }
  return at;
}

/** A text that grows by deltas: always `text[..offset] + piece`, whatever was lost or came twice. */
export class Growing {
  text = "";
  #scalars = 0;

  /** Takes a piece; says whether the text changed. A piece after a gap is left out: the whole follows. */
  take(offset: number, piece: string): boolean {
    if (offset > this.#scalars) return false;
    if (offset < this.#scalars) {
      this.text = this.text.slice(0, index(this.text, offset));
      this.#scalars = offset;
    }
    this.text += piece;
    this.#scalars += count(piece);
    return true;
  }
}
