/**
 * Turns whatever a run ends with into one SgwError, and shows it: as the error document with `--json`,
 * else as a message, a hint and, for a bug that is being debugged, where it came from.
 */
import { stripVTControlCharacters } from 'node:util';
import { cut, ERROR_KINDS, printable, quoted, SgwError, toSgwError } from '../kit/index.ts';
import { damageLines } from './damage-text.ts';
import type { Style } from './style.ts';

/** What oclif's parser errors carry, by class name. They are not exported, so they are told by shape. */
interface ParserError extends Error {
  readonly args?: readonly ({ readonly name: string } | string)[];
  readonly flags?: readonly string[];
  readonly oclif?: { readonly exit?: number };
  readonly parse?: { readonly input?: { readonly context?: { readonly id?: string } } };
}

/** Messages hold paths, which can be long; what is longer than this helps nobody. */
const MESSAGE_LENGTH_MAX = 8192;

const STORE_HINT =
  'Only verbs that read take --store: snapshot list, show, export and verify, volume list and show, recovery-point list. For the rest, activate a gateway over the store: sgw activate --store PLACE';

/** oclif wraps the message of whatever a flag's reader throws. */
const FLAG_WRAPPING = /^Parsing --(\S+) \n\t([\s\S]*)\nSee more help with --help$/;

/** The SgwError that a run ended with. Usage errors of oclif become `invalid`; unknown ones are bugs. */
export function describeFailure(error: unknown): SgwError {
  if (error instanceof SgwError) return unwrapFlag(error);
  if (!(error instanceof Error)) return toSgwError(error);
  const failure = error as ParserError;
  const name = failure.constructor.name;
  const command = failure.parse?.input?.context?.id?.replaceAll(':', ' ');
  const usage: Usage = (code, message, details, hint) => usageError(code, message, details, { command, hint });
  if (name === 'RequiredArgsError') {
    const missing = (failure.args ?? []).map((argument) => (typeof argument === 'string' ? argument : argument.name));
    const plural = missing.length === 1 ? '' : 's';
    return usage(
      'missing-argument',
      `missing argument${plural} ${missing.map((one) => one.toUpperCase()).join(', ')}`,
      { missing },
    );
  }
  if (name === 'NonExistentFlagsError') {
    const flags = failure.flags ?? [];
    const message = `unknown flag${flags.length === 1 ? '' : 's'} ${flags.map(shown).join(', ')}`;
    return usage(
      'unknown-flag',
      message,
      { flags },
      flags.some((flag) => /^--store(?:=|$)/.test(flag)) ? STORE_HINT : undefined,
    );
  }
  if (name === 'UnexpectedArgsError') {
    const surplus = (failure.args ?? []).map(String);
    return usage(
      'unexpected-argument',
      `unexpected argument${surplus.length === 1 ? '' : 's'} ${surplus.map(shown).join(', ')}`,
      {
        surplus,
      },
    );
  }
  if (failure.oclif !== undefined) return flagError(sentence(failure.message), usage);
  return toSgwError(error);
}

/** True for oclif's way of leaving with success, such as after help. */
export function isQuietExit(error: unknown): boolean {
  return (
    error instanceof Error && 'code' in error && error.code === 'EEXIT' && (error as ParserError).oclif?.exit === 0
  );
}

export const exitCodeOf = (failure: SgwError): number => ERROR_KINDS[failure.kind].exitCode;

/** The text that a person sees on standard error. */
export function failureText(failure: SgwError, style: Style, debug: boolean): string {
  const lines = [`${style.red('error:')} ${oneLine(failure.message)} ${style.dim(`[${failure.code}]`)}`];
  lines.push(...damageLines(failure, style));
  if (failure.hint !== undefined) lines.push(`${style.cyan('hint:')}  ${oneLine(failure.hint)}`);
  if (failure.kind === 'internal') {
    if (debug) lines.push(stackOf(failure));
    else
      lines.push(
        `${style.cyan('hint:')}  This is a bug in sgw. Run the command again with --debug and report what it prints.`,
      );
  }
  return `${lines.join('\n')}\n`;
}

/** The document that `--json` prints. */
export const failureDocument = (failure: SgwError): object => ({ error: failure.toDocument() });

type Usage = (code: string, message: string, details: SgwError['details'], hint?: string) => SgwError;

/** The cases that oclif tells apart by words alone, as ours. */
function flagError(message: string, usage: Usage): SgwError {
  const missing = [...message.matchAll(/missing required flag ([a-z-]+)/gi)].map(([, name]) => `--${name ?? ''}`);
  if (missing.length > 0) {
    const flags = missing.join(', ');
    return usage('missing-flag', `missing flag${missing.length === 1 ? '' : 's'} ${flags}`, { missing });
  }
  const choice = /^expected (?:(--[a-z-]+)=)?([\s\S]*) to be one of: (.*)$/i.exec(message);
  if (choice !== null) {
    const [, flag = 'the argument', value = '', choices = ''] = choice;
    return usage('bad-choice', `${flag} can not be ${quoted(value)}`, { value }, `Give one of: ${choices}.`);
  }
  const expecting = /^flag (--[a-z-]+) expects (?:a value|one of these values: (.*))$/i.exec(message);
  if (expecting !== null) {
    const [, flag = '', choices] = expecting;
    const hint = choices === undefined ? `Give ${flag} a value.` : `Give one of: ${choices}.`;
    return usage('missing-value', `${flag} was given without its value`, { flag }, hint);
  }
  const repeated = /^flag (--[a-z-]+) can only be specified once/i.exec(message)?.[1];
  if (repeated !== undefined) {
    return usage('repeated-flag', `${repeated} was given more than once`, { flag: repeated }, `Give ${repeated} once.`);
  }
  return usage('usage', message, {});
}

function usageError(
  code: string,
  message: string,
  details: SgwError['details'],
  { command, hint }: { command: string | undefined; hint: string | undefined },
): SgwError {
  const general = `Run ${command === undefined ? 'the command with' : `sgw ${command}`} --help to see what it takes.`;
  return new SgwError('invalid', code, message, { hint: hint ?? general, details });
}

/** An echoed word of the command line, as it was typed but for its length. */
const shown = (word: string): string => (/^[\w./=:-]{1,60}$/.test(word) ? word : quoted(word));

/** A message must not move the cursor, nor look like several. */
const oneLine = (text: string): string => cut(printable(text.replaceAll(/\s*\n\s*/g, ' ')), MESSAGE_LENGTH_MAX);

function unwrapFlag(error: SgwError): SgwError {
  const match = FLAG_WRAPPING.exec(error.message);
  if (match?.[2] === undefined) return error;
  const hint = error.hint === undefined ? {} : { hint: error.hint };
  return new SgwError(error.kind, error.code, match[2], {
    ...hint,
    details: { ...error.details, flag: `--${match[1] ?? ''}` },
    cause: error,
  });
}

/** oclif's messages as ours: one sentence in lower case, without its advice. */
function sentence(message: string): string {
  const plain = stripVTControlCharacters(message).replace(/^The following errors? occurred:\s*/, '');
  const inner = FLAG_WRAPPING.exec(plain)?.[2] ?? plain.replace(/\nSee more help with --help$/, '');
  const line = inner.replaceAll(/\s*\n\s*/g, ' ').trim();
  return line.charAt(0).toLowerCase() + line.slice(1);
}

function stackOf(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by ${stackOf(error.cause)}` : '';
  return `${error.stack ?? error.message}${cause}`;
}
