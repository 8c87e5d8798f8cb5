/** Text from elsewhere (users, stores, other programs) made fit to be shown. Pure. */

/** An echoed value longer than this, in characters, is cut: the start of it is enough to know it by. */
const ECHO_LENGTH_MAX = 60;
/** Control characters, and those that turn the direction of text around. */
const UNSAFE = /[\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

/** The text without what could move the cursor or forge lines: U+FFFD stands for each such character. */
export const printable = (text: string): string => text.replaceAll(UNSAFE, '\uFFFD');

/** The text in at most `width` characters, with an ellipsis where it was cut. */
export function cut(text: string, width: number): string {
  const characters = [...text];
  return characters.length <= width ? text : `${characters.slice(0, width - 1).join('')}…`;
}

/** A value that a user typed, for a message: in quotes, cut, and with unsafe characters escaped. */
export const quoted = (text: string): string => JSON.stringify(cut(text, ECHO_LENGTH_MAX)).replaceAll(UNSAFE, escaped);

const escaped = (character: string): string => `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`;

/** A word of a command that somebody is told to run, as a shell reads it back. */
export const shellWord = (text: string): string =>
  /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
