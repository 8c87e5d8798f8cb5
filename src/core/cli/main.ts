/**
 * The command line from outside: runs one command, and is the only place that reports a failure,
 * chooses the exit code and ends the process.
 *
 * Invariants: with `--json` standard output holds exactly one document, whatever went wrong; a reader
 * that closes standard output ends the run quietly; the process ends with a code of ERROR_KINDS.
 */
import type { OpenGateway } from '../client/index.ts';
import { ERROR_KINDS, type SgwError } from '../kit/index.ts';
import { globalFlagsLast, hasFlag, isTrue, wantsJson } from './argv.ts';
import { answerCompletion, COMPLETE_VERB } from './completion.ts';
import { dispatch } from './dispatch.ts';
import { describeFailure, exitCodeOf, failureDocument, failureText, isQuietExit } from './failure.ts';
import { openInProcess } from './inprocess.ts';
import { watchInterrupts } from './interrupts.ts';
import { withRuntime, type Runtime } from './runtime.ts';
import { styleFor } from './style.ts';

export interface MainOptions {
  /** What follows the program's name. */
  readonly argv: readonly string[];
  /** `import.meta.url` of the program, which lies in a folder of the package. */
  readonly entryUrl: string;
  /** How the gateway is opened; in this process when absent. */
  readonly openGateway?: OpenGateway;
}

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
    else await withRuntime(runtime, async () => dispatch(globalFlagsLast(argv), entryUrl, runtime));
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
