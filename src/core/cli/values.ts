/** Reads what users type in flags and arguments: durations, names, references, tags. Pure. */
import path from 'node:path';
import { NAME_HINT, parseSize, problemOfName, quoted, SgwError } from '../kit/index.ts';
import type { ImageFormat, Tags } from '../localapi/index.ts';

const REFERENCE_LENGTH_MAX = 128;
const TOKEN_LENGTH_MAX = 64;
const UNITS_MS: Readonly<Record<string, number>> = { '': 1000, ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
/** The longest delay that a timer holds. */
const DURATION_MAX_MS = 2 ** 31 - 1;

/**
 * Reads a duration as milliseconds: `500ms`, `30s`, `5m`, `2h`, `1d`; a bare number is seconds.
 * @throws invalid `bad-duration` naming `what`.
 */
export function parseDuration(text: string, what: string): number {
  const match = /^\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|)\s*$/.exec(text);
  const unitMs = match === null ? undefined : UNITS_MS[match[2] ?? ''];
  const durationMs = match === null || unitMs === undefined ? Number.NaN : Math.round(Number(match[1]) * unitMs);
  if (!(durationMs <= DURATION_MAX_MS)) {
    throw new SgwError('invalid', 'bad-duration', `${what} ${quoted(text)} is not a duration of at most 24 days`, {
      hint: 'Give a number and a unit, such as 500ms, 30s, 5m or 2h.',
      details: { value: text },
    });
  }
  return durationMs;
}

/**
 * Reads the size of a volume, in bytes: at least 1.
 * @throws invalid `bad-size` naming `what`.
 */
export function parseVolumeSize(text: string, what: string): number {
  const sizeBytes = parseSize(text, what);
  if (sizeBytes < 1) {
    throw new SgwError('invalid', 'bad-size', `${what} ${quoted(text)} is too small`, {
      hint: 'A volume has at least 1 byte. Give a size such as 10GiB (2^30) or 10GB (10^9).',
      details: { value: text },
    });
  }
  return sizeBytes;
}

/**
 * Reads a rate in bytes a second, `5MB/s` or `5MB`.
 * @throws invalid `bad-size`, `bad-rate` naming `what`.
 */
export function parseRate(text: string, what: string, hint: string): number {
  const rate = parseSize(text.replace(/\/s$/, ''), what);
  if (rate > 0) return rate;
  throw new SgwError('invalid', 'bad-rate', `${what} is 0: nothing would ever go on`, { hint });
}

/**
 * Checks a path that the user gives.
 * @throws invalid `bad-path` when it is empty.
 */
export function checkPath(text: string, what: string): string {
  if (text === '') {
    throw new SgwError('invalid', 'bad-path', `the path given as ${what} is empty`, { hint: 'Give a path.' });
  }
  return text;
}

const FORMAT_SUFFIXES = ['qcow2', 'vmdk', 'vhdx', 'vdi'] as const;

/** The format of an image by the suffix of its path; undefined for any other. */
export function formatOfPath(file: string): ImageFormat | undefined {
  const suffix = path.extname(file).slice(1).toLowerCase();
  return FORMAT_SUFFIXES.find((format) => format === suffix);
}

/**
 * Checks a name for a volume, a snapshot or a gateway, by the one rule of `kit/names.ts`.
 * @throws invalid `bad-name` saying what is wrong.
 */
export function checkName(text: string, what: string): string {
  const problem = problemOfName(text);
  if (problem !== undefined) {
    throw new SgwError('invalid', 'bad-name', `${what} ${quoted(text)} ${problem}`, {
      hint: NAME_HINT,
      details: { value: text },
    });
  }
  return text;
}

/**
 * Checks how a volume or snapshot is named in a command: an id, the beginning of one, or a name.
 * @throws invalid `bad-reference`.
 */
export function checkReference(text: string, what: string): string {
  if (text.trim() === '' || /\p{Cc}/u.test(text) || [...text].length > REFERENCE_LENGTH_MAX) {
    throw new SgwError('invalid', 'bad-reference', `${what} ${quoted(text)} is neither an id nor a name`, {
      hint: 'Give an id, the beginning of an id (at least 4 digits) that only one has, or a name.',
      details: { value: text },
    });
  }
  return text;
}

/**
 * Checks that `text` is one of `choices`.
 * @throws invalid `bad-choice` naming `what` and the choices.
 */
export function checkChoice<C extends string>(text: string, choices: readonly C[], what: string): C {
  const choice = choices.find((candidate) => candidate === text);
  if (choice === undefined) {
    throw new SgwError('invalid', 'bad-choice', `${what} can not be ${quoted(text)}`, {
      hint: `Give one of: ${choices.join(', ')}.`,
      details: { value: text, choices },
    });
  }
  return choice;
}

/**
 * Reads `key=value` pairs, one a text, or, as a variable holds them, in one text with commas between;
 * an empty value is allowed.
 * @throws invalid `bad-tag` for text without "=" or without a key, and for a key given twice.
 */
export function parseTags(texts: readonly string[] | string): Tags {
  const tags = new Map<string, string>();
  for (const text of typeof texts === 'string' ? texts.split(',') : texts) {
    const at = text.indexOf('=');
    const key = text.slice(0, Math.max(at, 0));
    if (key === '' || tags.has(key)) {
      throw new SgwError(
        'invalid',
        'bad-tag',
        `tag ${quoted(text)} ${key === '' ? 'is not key=value' : 'repeats its key'}`,
        {
          hint: 'Give --tag KEY=VALUE, once for each key.',
          details: { value: text },
        },
      );
    }
    tags.set(key, text.slice(at + 1));
  }
  return Object.fromEntries(tags);
}

/**
 * Checks an idempotency token: 1 to 64 printable ASCII characters.
 * @throws invalid `bad-client-token`.
 */
export function checkClientToken(text: string): string {
  if (!/^[\x21-\x7e]+$/.test(text) || text.length > TOKEN_LENGTH_MAX) {
    throw new SgwError('invalid', 'bad-client-token', `client token ${quoted(text)} can not be used`, {
      hint: `Give 1 to ${String(TOKEN_LENGTH_MAX)} printable ASCII characters without blanks.`,
      details: { value: text },
    });
  }
  return text;
}

/**
 * Checks an account id: 12 digits.
 * @throws invalid `bad-account`.
 */
export function checkAccountId(text: string): string {
  if (!/^\d{12}$/.test(text)) {
    throw new SgwError('invalid', 'bad-account', `account ${quoted(text)} is not 12 digits`, {
      hint: 'Give the account id, such as 000000000001: `sgw service account list` shows those of a service.',
      details: { value: text },
    });
  }
  return text;
}

type Given<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** The fields that have a value: what was not given stays out of an input. */
export function given<T extends object>(fields: T): Given<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Given<T>;
}

/**
 * Checks that `flag`, when it was given, came with the switch that gives it a meaning.
 * @throws invalid `flag-alone` naming both.
 */
export function requireWith(flag: string, value: string | undefined, needed: string, isGiven: boolean): void {
  if (value === undefined || isGiven) return;
  throw new SgwError('invalid', 'flag-alone', `${flag} means nothing without ${needed}`, {
    hint: `Give ${needed} too, or leave ${flag} out.`,
  });
}

/**
 * Checks that at least one of these flags was given.
 * @throws invalid `none-of` naming them.
 */
export function requireAny(flags: Readonly<Record<string, unknown>>): void {
  if (Object.values(flags).some((value) => value !== undefined)) return;
  const names = Object.keys(flags).join(', ');
  throw new SgwError('invalid', 'none-of', `none of ${names} was given`, { hint: `Give one or more of ${names}.` });
}

/**
 * Checks that exactly one of these flags was given.
 * @throws invalid `one-of` naming them.
 */
export function requireOne(flags: Readonly<Record<string, unknown>>): void {
  const names = Object.keys(flags);
  const count = Object.values(flags).filter((value) => value !== undefined).length;
  if (count !== 1) {
    throw new SgwError(
      'invalid',
      'one-of',
      `${count === 0 ? 'neither of' : 'more than one of'} ${names.join(' and ')} was given`,
      {
        hint: `Give exactly one of ${names.join(' and ')}.`,
      },
    );
  }
}

/** How a setting is said yes or no to. */
export const SWITCHES = ['on', 'off'] as const;
/** Undefined when it was not given. */
export const isSwitchedOn = (text: (typeof SWITCHES)[number] | undefined): boolean | undefined =>
  text === undefined ? undefined : text === 'on';
