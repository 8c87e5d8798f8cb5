/**
 * JSON from strangers. `JSON.parse` takes any nesting, and whatever walks the value afterwards (`JSON.stringify`, a canonical
 * form) ends in a stack that overflows, which may be in the middle of a socket's event.
 */

/** Far beyond what any message, frame or document has. */
const NESTING_MAX = 64;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPENS: ReadonlySet<number> = new Set([0x5b, 0x7b]);
const CLOSES: ReadonlySet<number> = new Set([0x5d, 0x7d]);

/** The value of a JSON text. @throws SyntaxError when it is no JSON, or is nested more than 64 deep */
export function parseShallowJson(text: string): unknown {
  if (!isShallow(text)) throw new SyntaxError(`JSON is nested more than ${String(NESTING_MAX)} deep`);
  return JSON.parse(text) as unknown;
}

/** Of a text that is no JSON it says nothing that counts: that is refused anyway. */
function isShallow(text: string): boolean {
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const sign = text.charCodeAt(at);
    if (sign === QUOTE) at = endOfText(text, at);
    else if (OPENS.has(sign)) depth++;
    else if (CLOSES.has(sign)) depth--;
    if (depth > NESTING_MAX) return false;
  }
  return true;
}

/** Where the quote is that ends the text which begins at `from`. */
function endOfText(text: string, from: number): number {
  for (let at = from + 1; at < text.length; at++) {
    const sign = text.charCodeAt(at);
    if (sign === QUOTE) return at;
    if (sign === BACKSLASH) at++;
  }
  return text.length;
}
