/**
 * What a command may touch of the process around it: streams, environment, the wish to stop, and how
 * a gateway is opened. Set once by `main` (by tests: their own), read by commands, which oclif creates
 * and which therefore can't be handed it.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Readable, Writable } from 'node:stream';
import type { OpenGateway } from '../client/index.ts';
import { assert, type SgwError } from '../kit/index.ts';

/** An output stream, perhaps a terminal. */
export type Output = Writable & { readonly isTTY?: boolean; readonly columns?: number };

/** The columns that output is laid out for when the terminal does not tell. */
const DEFAULT_COLUMNS = 80;

/** The width of a terminal. One that says 0, as a pseudo-terminal without a size does, has the usual width. */
export const columnsOf = (output: Output): number =>
  output.columns === undefined || output.columns <= 0 ? DEFAULT_COLUMNS : output.columns;

/** Writes and waits until the stream took it; a reader who has gone away is no failure here. */
export async function write(output: Output, text: string): Promise<void> {
  await new Promise<void>((resolve) => {
    output.write(text, () => {
      resolve();
    });
  });
}

export interface Runtime {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdin: Readable & { readonly isTTY?: boolean };
  readonly stdout: Output;
  readonly stderr: Output;
  /** Fires with an SgwError of kind `aborted` on SIGINT or SIGTERM. */
  readonly interrupt: AbortSignal;
  readonly openGateway: OpenGateway;
  /** Told when the result is about to be printed. */
  readonly onPrint?: () => void;
  /** Told when the run has failed, before that is reported. */
  readonly onFailure?: (failure: SgwError) => void;
  /** Whether the gateway is on another machine: set once the command line is known. */
  isRemote?: boolean;
  /** What the run ends with when nothing failed, but what it found is not good; 0 when absent. */
  exitCode?: number;
}

const current = new AsyncLocalStorage<Runtime>();

/** Runs `work` with this runtime in force. */
export async function withRuntime<T>(runtime: Runtime, work: () => Promise<T>): Promise<T> {
  return await current.run(runtime, work);
}

/** The runtime in force. */
export function currentRuntime(): Runtime {
  const runtime = current.getStore();
  assert(runtime !== undefined, 'a command runs inside withRuntime');
  return runtime;
}
