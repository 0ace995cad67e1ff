// The difference of two texts, line by line.

export interface Line {
  sign: " " | "+" | "-";
  text: string;
}

/** Most lines of a side that are compared: beyond, all of the one and all of the other is shown. */
const MOST = 800;

export function diff(before: string, after: string): Line[] {
  const [a, b] = [before.split("\n"), after.split("\n")];
  let [start, endA, endB] = [0, a.length, b.length];
  while (start < endA && start < endB && a[start] === b[start]) start++;
  while (endA > start && endB > start && a[endA - 1] === b[endB - 1]) endA--, endB--;
  const same = (lines: string[]): Line[] => lines.map((text) => ({ sign: " ", text }));
  return [...same(a.slice(0, start)), ...changed(a.slice(start, endA), b.slice(start, endB)), ...same(a.slice(endA))];
}

/** The middle, by the longest common subsequence. */
function changed(a: string[], b: string[]): Line[] {
  const out = (text: string): Line => ({ sign: "-", text });
  const into = (text: string): Line => ({ sign: "+", text });
  if (a.length > MOST || b.length > MOST) return [...a.map(out), ...b.map(into)];
  const width = b.length + 1;
  const length = new Uint16Array((a.length + 1) * width);
  const at = (i: number, j: number) => length[i * width + j] ?? 0;
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      length[i * width + j] = a[i] === b[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
  const lines: Line[] = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    const [left, right] = [a[i], b[j]];
    if (left !== undefined && left === right) {
      lines.push({ sign: " ", text: left });
      i++, j++;
    } else if (left !== undefined && (right === undefined || at(i + 1, j) >= at(i, j + 1))) {
      lines.push(out(left));
      i++;
    } else if (right !== undefined) {
      lines.push(into(right));
      j++;
    }
  }
  return lines;
}
