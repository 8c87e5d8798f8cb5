/**
 * The command line from outside: runs one command, and is the only place that reports a failure,
 * chooses the exit code and ends the process.
 *
 * Invariants: with `--json` standard output holds exactly one document, whatever went wrong and whenever a
 * signal comes; a reader that closes standard output ends the run quietly; the process ends with a code of
 * ERROR_KINDS.
 */
import { daemonFirst, type OpenGateway } from '../client/index.ts';
import { SgwError } from '../kit/index.ts';
import { globalFlagsLast, hasFlag, isTrue, wantsJson } from './argv.ts';
import { answerCompletion, COMPLETE_VERB } from './completion.ts';
import { dispatch } from './dispatch.ts';
import { describeFailure, exitCodeOf, failureDocument, failureText, isQuietExit } from './failure.ts';
import { openInProcess } from './inprocess.ts';
import { watchInterrupts } from './interrupts.ts';
import { withRuntime, write, type Runtime } from './runtime.ts';
import { styleFor } from './style.ts';

export interface MainOptions {
  /** What follows the program's name. */
  readonly argv: readonly string[];
  /** `import.meta.url` of the program, which lies in a folder of the package. */
  readonly entryUrl: string;
  /** How the gateway is opened; by its daemon, or without one in this process, when absent. */
  readonly openGateway?: OpenGateway;
}

/** Runs one command line and ends the process. */
export async function main(options: MainOptions): Promise<void> {
  const outcome: Outcome = {};
  using interrupts = watchInterrupts((reason) => {
    leaveInterrupted(reason, options.argv, outcome);
  });
  const { stdout, stderr } = process;
  watchOutputs(stdout, stderr, outcome);
  preferPlain(options.argv);
  const runtime: Runtime = {
    env: process.env,
    stdin: process.stdin,
    stdout,
    stderr,
    interrupt: interrupts.signal,
    openGateway: options.openGateway ?? daemonFirst(openInProcess),
    onPrint: () => {
      outcome.isPrinted = true;
    },
    onFailure: (failure) => {
      outcome.failure = failure;
    },
  };
  leave(await run(options, runtime));
}

/** How far a run has come, for what can end it from outside. */
interface Outcome {
  /** Set when the result is handed to standard output. */
  isPrinted?: boolean;
  /** Set when the run has failed, before that is reported. */
  failure?: SgwError;
}

/** Ends a run whose operation does not stop: reports why, unless something was reported already. */
function leaveInterrupted(reason: SgwError, argv: readonly string[], outcome: Outcome): void {
  if (outcome.isPrinted !== true && outcome.failure === undefined) {
    outcome.failure = reason;
    void writeFailure(reason, argv, process);
  }
  leave(exitCodeOf(reason));
}

/** Node.js warns on standard error when NO_COLOR and FORCE_COLOR are both set. sgw heeds the first. */
function preferPlain(argv: readonly string[]): void {
  if (!isPlain(argv, process.env)) return;
  process.env['NO_COLOR'] = '1';
  delete process.env['FORCE_COLOR'];
}

const isPlain = (argv: readonly string[], env: Runtime['env']): boolean =>
  hasFlag(argv, '--no-color') || (env['NO_COLOR'] ?? '') !== '' || isTrue(env['SGW_NO_COLOR']);

/** Runs one command line and returns the exit code. Everything written has been handed to the streams. */
export async function run({ argv, entryUrl }: MainOptions, runtime: Runtime): Promise<number> {
  try {
    if (argv[0] === COMPLETE_VERB) await answerCompletion(argv.slice(1), runtime);
    else await withRuntime(runtime, async () => dispatch(globalFlagsLast(argv), entryUrl, runtime));
    return runtime.exitCode ?? 0;
  } catch (error) {
    return isQuietExit(error) ? 0 : await reportFailure(describeFailure(error), argv, runtime);
  } finally {
    await Promise.all([flush(runtime.stdout), flush(runtime.stderr)]);
  }
}

/** Shows a failure on the streams and returns its exit code. */
export async function reportFailure(failure: SgwError, argv: readonly string[], runtime: Runtime): Promise<number> {
  runtime.onFailure?.(failure);
  await writeFailure(failure, argv, runtime);
  return exitCodeOf(failure);
}

/** Resolves when the stream took it, or could not. */
async function writeFailure(
  failure: SgwError,
  argv: readonly string[],
  { env, stdout, stderr }: Pick<Runtime, 'env' | 'stdout' | 'stderr'>,
): Promise<void> {
  if (wantsJson(argv, env)) {
    await write(stdout, `${JSON.stringify(failureDocument(failure), undefined, 2)}\n`);
  } else {
    const isDebug = hasFlag(argv, '--debug') || isTrue(env['SGW_DEBUG']);
    await write(stderr, failureText(failure, styleFor(stderr, !isPlain(argv, env)), isDebug));
  }
}

/** A closed pipe (`| head -1`) ends the run quietly; a full disk behind standard output is reported. */
function watchOutputs(stdout: NodeJS.WriteStream, stderr: NodeJS.WriteStream, outcome: Outcome): void {
  stderr.on('error', () => undefined);
  stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') leave(0);
    const style = styleFor(stderr, !isPlain([], process.env));
    if (outcome.failure !== undefined) stderr.write(failureText(outcome.failure, style, false));
    const failure = describeOutputFailure(error, outcome.failure === undefined);
    stderr.write(failureText(failure, style, false));
    leave(exitCodeOf(failure));
  });
}

function describeOutputFailure(error: NodeJS.ErrnoException, isDone: boolean): SgwError {
  const { kind, code, message } = describeFailure(error);
  return new SgwError(kind, code, `standard output ${message.replace(/^a file /, '')}`, {
    hint: isDone
      ? 'The command itself was done: only what it printed is lost. Free some space, or print to another place.'
      : 'Free some space, or print to another place.',
    cause: error,
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
