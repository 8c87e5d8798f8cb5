/** What must be known of a command line before, or without, parsing it: JSON or not, and where flags end. Pure but for preferences. */
import { readPreferences } from './preferences.ts';
import type { Runtime } from './runtime.ts';

const GLOBAL_SWITCHES = new Set(['--json', '--no-json', '--no-input', '--quiet', '-q', '--no-color', '--debug']);
/** Global flags that take a value. */
export const GLOBAL_VALUES: ReadonlySet<string> = new Set([
  '--home',
  '--account',
  '--progress',
  '--lock-timeout',
  '--key-file',
  '--passphrase-file',
  '--recovery-code-file',
  '--service',
  '--gateway',
  '--service-ca',
  '--service-fingerprint',
  '--access-key-id',
]);

/** oclif wants the command first: global flags before it move behind it. */
export function globalFlagsLast(argv: readonly string[]): string[] {
  let start = 0;
  for (let word = argv[0]; word !== undefined; word = argv[start]) {
    if (GLOBAL_VALUES.has(word)) start += 2;
    else if (GLOBAL_SWITCHES.has(word) || GLOBAL_VALUES.has(word.split('=')[0] ?? '')) start += 1;
    else break;
  }
  const rest = argv.slice(start);
  const end = endOfFlags(rest);
  return [...rest.slice(0, end), ...argv.slice(0, start), ...rest.slice(end)];
}

/** Whether a switch is there, before any `--`. */
export const hasFlag = (argv: readonly string[], flag: string): boolean =>
  argv.slice(0, endOfFlags(argv)).includes(flag);

/** Whether a gateway elsewhere is named, by flag or variable. */
export const namesGateway = (argv: readonly string[], env: Runtime['env']): boolean =>
  (env['SGW_GATEWAY'] ?? '') !== '' ||
  argv.slice(0, endOfFlags(argv)).some((word) => word === '--gateway' || word.startsWith('--gateway='));

/** How a variable says yes to a switch. */
export const isTrue = (value: string | undefined): boolean => /^(?:1|true|yes|y|on)$/i.test(value ?? '');

/** Whether JSON was asked for, also when the flags can't be parsed. */
export function wantsJson(argv: readonly string[], env: Runtime['env']): boolean {
  if (hasFlag(argv, '--no-json')) return false;
  if (hasFlag(argv, '--json') || isTrue(env['SGW_JSON'])) return true;
  try {
    return readPreferences(env).output === 'json';
  } catch {
    return false;
  }
}

/** The leading words that are no flags: the command and perhaps arguments. */
export function leadingWords(argv: readonly string[]): string[] {
  const first = argv.findIndex((word) => word.startsWith('-'));
  return first === -1 ? [...argv] : argv.slice(0, first);
}

function endOfFlags(argv: readonly string[]): number {
  const at = argv.indexOf('--');
  return at === -1 ? argv.length : at;
}
