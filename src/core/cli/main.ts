/**
 * The command line from outside: reads argv, runs one command of oclif, and is the only place that
 * reports a failure and chooses the exit code. Where oclif's defaults differ from the specification
 * (it exits 127, dumps its configuration, or prints nothing), this file answers instead.
 *
 * Invariants: with `--json` standard output holds exactly one document, whatever went wrong; a reader
 * that closes standard output ends the run quietly; the process ends with a code of ERROR_KINDS.
 */
import { fileURLToPath } from 'node:url';
import type { OpenGateway } from '../client/index.ts';
import { ERROR_KINDS, SgwError } from '../kit/index.ts';
import { addNamesToCompletion, answerCompletion, COMPLETE_VERB } from './completion.ts';
import { describeFailure, exitCodeOf, failureDocument, failureText, isQuietExit } from './failure.ts';
import { openInProcess } from './inprocess.ts';
import { watchInterrupts } from './interrupts.ts';
import { readPreferences } from './preferences.ts';
import { withRuntime, type Runtime } from './runtime.ts';
import { styleFor } from './style.ts';
import { unknownCommand } from './unknown-command.ts';

export interface MainOptions {
  /** What follows the program's name. */
  readonly argv: readonly string[];
  /** `import.meta.url` of the program, which lies in a folder of the package. */
  readonly entryUrl: string;
  /** How the gateway is opened; in this process when absent. */
  readonly openGateway?: OpenGateway;
}

type OclifConfig = import('@oclif/core').Config;

/** Runs one command line and ends the process. */
export async function main(options: MainOptions): Promise<void> {
  const { stdout, stderr } = process;
  watchOutputs(stdout, stderr);
  using interrupts = watchInterrupts(leave);
  const runtime: Runtime = {
    env: process.env,
    stdin: process.stdin,
    stdout,
    stderr,
    interrupt: interrupts.signal,
    openGateway: options.openGateway ?? openInProcess,
  };
  leave(await run(options, runtime));
}

/** Runs one command line and returns the exit code. Everything written has been handed to the streams. */
export async function run({ argv, entryUrl }: MainOptions, runtime: Runtime): Promise<number> {
  try {
    if (argv[0] === COMPLETE_VERB) await answerCompletion(argv.slice(1), runtime);
    else await withRuntime(runtime, async () => runCommand(globalFlagsLast(argv), entryUrl, runtime));
    return 0;
  } catch (error) {
    return isQuietExit(error) ? 0 : await reportFailure(describeFailure(error), argv, runtime);
  } finally {
    await Promise.all([flush(runtime.stdout), flush(runtime.stderr)]);
  }
}

/** Shows a failure on the streams and returns its exit code. */
export async function reportFailure(failure: SgwError, argv: readonly string[], runtime: Runtime): Promise<number> {
  if (wantsJson(argv, runtime.env)) {
    runtime.stdout.write(`${JSON.stringify(failureDocument(failure), undefined, 2)}\n`);
  } else {
    const isPlain =
      hasFlag(argv, '--no-color') || (runtime.env['NO_COLOR'] ?? '') !== '' || isTrue(runtime.env['SGW_NO_COLOR']);
    const isDebug = hasFlag(argv, '--debug') || isTrue(runtime.env['SGW_DEBUG']);
    runtime.stderr.write(failureText(failure, styleFor(runtime.stderr, !isPlain), isDebug));
  }
  return exitCodeOf(failure);
}

async function runCommand(argv: readonly string[], entryUrl: string, runtime: Runtime): Promise<void> {
  // oclif would look for TypeScript sources beside the built ones, and warn in development.
  process.env['NODE_ENV'] ??= 'production';
  if (hasFlag(argv, '--no-color') || isTrue(runtime.env['SGW_NO_COLOR'])) process.env['NO_COLOR'] = '1';
  const oclif = await import('@oclif/core');
  oclif.settings.enableAutoTranspile = false;
  const config = await oclif.Config.load(fileURLToPath(entryUrl));
  await checkCommand(argv, config, runtime);
  await oclif.run([...argv], config);
  if (argv[0] === 'autocomplete') await addNamesToCompletion(config.cacheDir);
}

/** Answers what oclif would answer in its own way: a command that does not exist, a topic alone with `--json`. */
async function checkCommand(argv: readonly string[], config: OclifConfig, runtime: Runtime): Promise<void> {
  const words = argv
    .slice(0, findEnd(argv))
    .filter((word, at) => !word.startsWith('-') && argv.slice(0, at).every((before) => !before.startsWith('-')));
  const wantsHelp = hasFlag(argv, '--help') || hasFlag(argv, '-h');
  const commands = config.commands
    .filter((command) => command.hidden !== true)
    .map((command) => command.id.replaceAll(':', ' '));
  const known = longestKnown(words, config);
  if (known.isCommand || (wantsHelp && words.length === known.length)) return;
  if (known.length < words.length) {
    const typed = words.slice(0, known.length + 1).join(' ');
    const isAsking =
      runtime.stdin.isTTY === true &&
      runtime.stderr.isTTY === true &&
      !wantsJson(argv, runtime.env) &&
      !wantsNoInput(argv, runtime);
    // On a terminal @oclif/plugin-not-found asks whether the nearest command was meant.
    if (!isAsking) throw unknownCommand(typed, commands);
    return;
  }
  if (wantsJson(argv, runtime.env)) {
    throw new SgwError(
      'invalid',
      'missing-command',
      words.length === 0 ? 'no command was given' : `no verb of "${words.join(' ')}" was given`,
      {
        hint: `Run sgw ${[...words, '--help'].join(' ')} to see what there is.`,
      },
    );
  }
}

/** How many of the words are a topic or a command, and whether they end in a command. */
function longestKnown(words: readonly string[], config: OclifConfig): { length: number; isCommand: boolean } {
  for (let length = words.length; length > 0; length--) {
    const id = words.slice(0, length).join(':');
    if (config.findCommand(id) !== undefined) return { length, isCommand: true };
    if (config.findTopic(id) !== undefined) return { length, isCommand: false };
  }
  return { length: 0, isCommand: false };
}

const GLOBAL_SWITCHES = new Set(['--json', '--no-json', '--no-input', '--quiet', '-q', '--no-color', '--debug']);
const GLOBAL_VALUES = new Set(['--home', '--account', '--progress', '--lock-timeout']);

/** oclif wants the command first: global flags before it move behind it. */
export function globalFlagsLast(argv: readonly string[]): string[] {
  let start = 0;
  while (start < argv.length) {
    const word = argv[start] ?? '';
    if (GLOBAL_SWITCHES.has(word) || GLOBAL_VALUES.has(word.split('=')[0] ?? ''))
      start += GLOBAL_VALUES.has(word) ? 2 : 1;
    else break;
  }
  const rest = argv.slice(start);
  const end = findEnd(rest);
  return [...rest.slice(0, end), ...argv.slice(0, start), ...rest.slice(end)];
}

/** Where flags end: at `--`, or at the end. */
function findEnd(argv: readonly string[]): number {
  const at = argv.indexOf('--');
  return at === -1 ? argv.length : at;
}

const hasFlag = (argv: readonly string[], flag: string): boolean => argv.slice(0, findEnd(argv)).includes(flag);
const isTrue = (value: string | undefined): boolean => /^(?:1|true|yes|y|on)$/i.test(value ?? '');
const wantsNoInput = (argv: readonly string[], runtime: Runtime): boolean =>
  hasFlag(argv, '--no-input') || isTrue(runtime.env['SGW_NO_INPUT']);

/** Whether JSON was asked for, also when the flags can't be parsed. */
function wantsJson(argv: readonly string[], env: Runtime['env']): boolean {
  if (hasFlag(argv, '--no-json')) return false;
  if (hasFlag(argv, '--json') || isTrue(env['SGW_JSON'])) return true;
  try {
    return readPreferences(env).output === 'json';
  } catch {
    return false;
  }
}

/** A closed pipe (`| head -1`) ends the run quietly; a full disk behind standard output is reported. */
function watchOutputs(stdout: NodeJS.WriteStream, stderr: NodeJS.WriteStream): void {
  stderr.on('error', () => undefined);
  stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') leave(0);
    const failure = describeFailure(error);
    stderr.write(`error: standard output: ${failure.message}\n`);
    leave(ERROR_KINDS[failure.kind].exitCode);
  });
}

async function flush(stream: Runtime['stdout']): Promise<void> {
  if (stream.destroyed || stream.writableLength === 0) return;
  await new Promise<void>((resolve) => {
    stream.write('', () => {
      resolve();
    });
  });
}

function leave(exitCode: number): never {
  process.exit(exitCode);
}
