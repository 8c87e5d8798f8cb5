/**
 * Runs the program qemu-img: without a shell, with bounded output, killed when the signal fires.
 * Files reach it only as absolute paths or as `json:` descriptions that name the driver, so that no
 * file name is taken for an option, a protocol or an image of another format.
 */
import { spawn } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { SgwError, throwIfAborted } from '../kit/index.ts';
import { naming } from './file-errors.ts';
import type { ImageFormat } from './format.ts';

export interface QemuImgOptions {
  readonly signal?: AbortSignal;
  /** The program to run. Default: `qemu-img` from PATH. */
  readonly binary?: string;
}

interface RunOptions extends QemuImgOptions {
  /** Given each piece of standard output instead of collecting it. */
  readonly onOutput?: (text: string) => void;
}

const OUTPUT_BYTES_MAX = 1 << 20;
const STDERR_CHARACTERS_KEPT = 4096;

/** How a run of the program ended. */
export interface Ended {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly output: string;
  readonly stderr: string;
}

/**
 * Runs `qemu-img` and resolves with its standard output. The program is gone when this settles.
 * @throws unsupported `qemu-img-missing`; exhausted, unavailable, denied or invalid by what it complains of; aborted.
 */
export async function runQemuImg(args: readonly string[], options: RunOptions = {}): Promise<string> {
  const ended = await endOfQemuImg(args, options);
  if (ended.exitCode === 0) return ended.output;
  throw failure(args[0] ?? '', ended);
}

/** Like `runQemuImg`, for a caller who judges the exit code. */
export async function endOfQemuImg(args: readonly string[], options: RunOptions = {}): Promise<Ended> {
  throwIfAborted(options.signal);
  const ended = await spawnToEnd(options.binary ?? 'qemu-img', args, options);
  throwIfAborted(options.signal);
  if (ended.signal === 'SIGINT' || ended.signal === 'SIGTERM') {
    throw new SgwError('aborted', 'aborted', 'qemu-img was stopped');
  }
  return ended;
}

/**
 * The version of the installed qemu-img, such as `7.2.22`.
 * @throws unsupported `qemu-img-missing`
 */
export async function qemuImgVersion(options: QemuImgOptions = {}): Promise<string> {
  const output = await runQemuImg(['--version'], options);
  return /version (\d+(?:\.\d+)*)/.exec(output)?.[1] ?? 'unknown';
}

/** A source image as qemu takes it: this file, this format, no probing, and no backing file whatever its header says. */
export async function sourceArgument(path: string, format: ImageFormat): Promise<string> {
  const absolute = resolve(path);
  const facts = await naming(absolute, () => stat(absolute));
  const file = { driver: facts.isBlockDevice() ? 'host_device' : 'file', filename: absolute };
  const canHaveBacking = format === 'qcow2' || format === 'vmdk';
  return `json:${JSON.stringify({ driver: format, file, ...(canHaveBacking ? { backing: null } : {}) })}`;
}

/** Ours without our own variables: one of them may be the passphrase of the store, which is nothing for another program. */
function environment(): NodeJS.ProcessEnv {
  const foreign = Object.entries(process.env).filter(([name]) => !name.startsWith('SGW_'));
  return { ...Object.fromEntries(foreign), LC_ALL: 'C' };
}

async function spawnToEnd(binary: string, args: readonly string[], options: RunOptions): Promise<Ended> {
  const child = spawn(binary, args, { stdio: ['ignore', 'pipe', 'pipe'], env: environment() });
  const stop = (): void => {
    child.kill('SIGKILL');
  };
  options.signal?.addEventListener('abort', stop, { once: true });
  let output = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    if (options.onOutput !== undefined) options.onOutput(text);
    else if (output.length < OUTPUT_BYTES_MAX) output += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-STDERR_CHARACTERS_KEPT);
  });
  try {
    return await new Promise<Ended>((settle, reject) => {
      child.once('error', reject);
      child.once('close', (exitCode, signal) => {
        settle({ exitCode, signal, output, stderr: stderr.trim() });
      });
    });
  } catch (error) {
    throw startFailure(binary, error as NodeJS.ErrnoException);
  } finally {
    options.signal?.removeEventListener('abort', stop);
  }
}

function startFailure(binary: string, error: NodeJS.ErrnoException): SgwError {
  if (error.code !== 'ENOENT') {
    return new SgwError('unavailable', 'qemu-img-not-started', `${binary} could not be started: ${error.message}`, {
      cause: error,
    });
  }
  return new SgwError('unsupported', 'qemu-img-missing', `this needs the program ${binary}, which is not installed`, {
    hint: 'Install it (Debian and Ubuntu: the package qemu-utils; Fedora: qemu-img), or use the raw format, which needs no other program.',
    cause: error,
  });
}

/** What qemu-img's complaint means for the caller; its words are in the details. */
const COMPLAINTS: readonly {
  readonly says: RegExp;
  readonly make: (message: string, details: { stderr: string }) => SgwError;
}[] = [
  {
    says: /No space left on device|Disk quota exceeded/,
    make: (message, details) =>
      new SgwError('exhausted', 'qemu-img-no-space', message, {
        hint: 'Free some space, then run the same command again.',
        details,
      }),
  },
  {
    says: /Failed to get .*lock|Is another process using the image/,
    make: (message, details) =>
      new SgwError('unavailable', 'image-in-use', message, {
        hint: 'Stop the virtual machine that uses the image, then run the same command again.',
        details,
      }),
  },
  {
    says: /Permission denied/,
    make: (message, details) =>
      new SgwError('denied', 'qemu-img-denied', message, { hint: 'Check the owner and the permissions.', details }),
  },
];

/** The error for a complaint that is not about the image itself, undefined for any other. */
export function complaint(verb: string, ended: Ended): SgwError | undefined {
  const known = COMPLAINTS.find(({ says }) => says.test(ended.stderr));
  return known?.make(describeEnd(verb, ended), { stderr: ended.stderr });
}

function failure(verb: string, ended: Ended): SgwError {
  return (
    complaint(verb, ended) ??
    new SgwError('invalid', 'qemu-img-failed', describeEnd(verb, ended), {
      hint: 'The image may be damaged or use features that the installed qemu-img lacks: qemu-img check IMAGE says more.',
      details: { stderr: ended.stderr, exitCode: ended.exitCode },
    })
  );
}

function describeEnd(verb: string, { exitCode, signal, stderr }: Ended): string {
  const lastLine =
    stderr
      .split('\n')
      .at(-1)
      ?.replace(/^qemu-img: /, '') ?? '';
  const ending =
    exitCode === null ? `it was ended by ${String(signal)}` : `it ended with exit code ${String(exitCode)}`;
  return `qemu-img ${verb} failed: ${lastLine === '' ? ending : lastLine}`;
}
