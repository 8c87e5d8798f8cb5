/**
 * The one error type of sgw, and the one table that maps its kind to an exit code, an HTTP status
 * and an NBD errno (DESIGN section 11). `kind` tells the caller what to do; `code` names the case.
 */

/** What each kind means to a shell, an HTTP client and an NBD client. */
export const ERROR_KINDS = {
  /** The request itself is wrong; correct it. */
  invalid: { exitCode: 2, httpStatus: 400, nbdErrno: 22, retryable: false },
  /** The target accepts no writes. */
  readOnly: { exitCode: 4, httpStatus: 409, nbdErrno: 1, retryable: false },
  /** The named thing does not exist. */
  notFound: { exitCode: 3, httpStatus: 404, nbdErrno: 2, retryable: false },
  /** The state of the thing does not allow the request, or somebody was faster. */
  conflict: { exitCode: 4, httpStatus: 409, nbdErrno: 5, retryable: false },
  /** A newer writer took over; this one must stop. */
  fenced: { exitCode: 4, httpStatus: 409, nbdErrno: 108, retryable: false },
  /** The caller has no right to do this. */
  denied: { exitCode: 8, httpStatus: 403, nbdErrno: 1, retryable: false },
  /** Out of space, memory or quota. */
  exhausted: { exitCode: 6, httpStatus: 507, nbdErrno: 28, retryable: false },
  /** Out of reach or locked at the moment; try again. */
  unavailable: { exitCode: 5, httpStatus: 503, nbdErrno: 5, retryable: true },
  /** A deadline passed. */
  timeout: { exitCode: 9, httpStatus: 504, nbdErrno: 5, retryable: true },
  /** Stored data is damaged. */
  corrupt: { exitCode: 7, httpStatus: 500, nbdErrno: 5, retryable: false },
  /** This build, mode or store can't do it. */
  unsupported: { exitCode: 10, httpStatus: 501, nbdErrno: 95, retryable: false },
  /** Stopped on the caller's wish. */
  aborted: { exitCode: 130, httpStatus: 499, nbdErrno: 108, retryable: true },
  /** A bug in sgw. */
  internal: { exitCode: 1, httpStatus: 500, nbdErrno: 5, retryable: false },
} as const satisfies Record<string, ErrorKindRow>;

interface ErrorKindRow {
  readonly exitCode: number;
  readonly httpStatus: number;
  readonly nbdErrno: number;
  readonly retryable: boolean;
}

export type ErrorKind = keyof typeof ERROR_KINDS;

/** A JSON-safe bag of facts about an error: ids, paths, sizes, lists of them. Never secrets. */
export type ErrorDetails = Readonly<
  Record<string, string | number | boolean | null | readonly string[] | readonly object[]>
>;

export interface SgwErrorOptions {
  /** What the user can do next: a sentence, often with a command. */
  readonly hint?: string;
  readonly details?: ErrorDetails;
  readonly cause?: unknown;
}

/** The error document that `--json` prints under `error`, and the local API answers. */
export interface ErrorDocument {
  readonly code: string;
  readonly kind: ErrorKind;
  readonly message: string;
  readonly hint: string | null;
  readonly details: ErrorDetails;
  readonly retryable: boolean;
}

/** Every failure that sgw reports on purpose. `message` is a lower-case sentence naming the thing and the value. */
export class SgwError extends Error {
  override readonly name = 'SgwError';
  readonly code: string;
  readonly kind: ErrorKind;
  readonly hint: string | undefined;
  readonly details: ErrorDetails;

  constructor(kind: ErrorKind, code: string, message: string, options: SgwErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.kind = kind;
    this.code = code;
    this.hint = options.hint;
    this.details = options.details ?? {};
  }

  /** The error that a document tells of, as another process had it. A kind that this version does not know is `internal`. */
  static fromDocument(document: ErrorDocument): SgwError {
    const { code, message, hint, details } = document;
    const kind = document.kind in ERROR_KINDS ? document.kind : 'internal';
    return new SgwError(kind, code, message, { details, ...(hint === null ? {} : { hint }) });
  }

  get retryable(): boolean {
    return ERROR_KINDS[this.kind].retryable;
  }

  toDocument(): ErrorDocument {
    return {
      code: this.code,
      kind: this.kind,
      message: this.message,
      hint: this.hint ?? null,
      details: this.details,
      retryable: this.retryable,
    };
  }
}

/**
 * Turns anything thrown into an SgwError: system errors by their errno, aborts, and the rest as `internal`. Where tidying
 * up failed after a failure, the first failure is what counts.
 */
export function toSgwError(error: unknown): SgwError {
  if (error instanceof SgwError) return error;
  if (error instanceof SuppressedError) return toSgwError(error.suppressed);
  if (!(error instanceof Error)) return new SgwError('internal', 'internal', String(error));
  if (error.name === 'AbortError') {
    return error.cause instanceof SgwError
      ? error.cause
      : new SgwError('aborted', 'aborted', 'stopped on request', { cause: error });
  }
  const system = fromSystemError(error);
  return system ?? new SgwError('internal', 'internal', error.message, { cause: error });
}

/** The same failure, with one more sentence of what to do, and more facts. What was thrown is its cause. */
export function withAdvice(error: unknown, sentence: string, moreDetails: ErrorDetails = {}): SgwError {
  const { kind, code, message, hint, details } = toSgwError(error);
  return new SgwError(kind, code, message, {
    hint: hint === undefined ? sentence : `${hint} ${sentence}`,
    details: { ...details, ...moreDetails },
    cause: error,
  });
}

const SYSTEM_ERRORS: Readonly<Record<string, { kind: ErrorKind; says: string; hint?: string }>> = {
  ENOENT: { kind: 'notFound', says: 'does not exist' },
  ENOTDIR: { kind: 'invalid', says: 'is not a directory' },
  EISDIR: { kind: 'invalid', says: 'is a directory' },
  EACCES: { kind: 'denied', says: 'may not be used by this user', hint: 'Check the owner and the permissions.' },
  EPERM: { kind: 'denied', says: 'may not be used by this user', hint: 'Check the owner and the permissions.' },
  EROFS: { kind: 'denied', says: 'is on a read-only file system' },
  ENOSPC: {
    kind: 'exhausted',
    says: 'is on a file system with no space left',
    hint: 'Free some space, then run the same command again.',
  },
  EDQUOT: {
    kind: 'exhausted',
    says: 'is over the disk quota',
    hint: 'Free some space, then run the same command again.',
  },
  EFBIG: { kind: 'exhausted', says: 'would be larger than the file system allows' },
  EMFILE: {
    kind: 'unavailable',
    says: 'can not be opened: too many open files',
    hint: 'Raise the limit with ulimit -n.',
  },
  ENFILE: { kind: 'unavailable', says: 'can not be opened: the system has too many open files' },
  ENOMEM: { kind: 'exhausted', says: 'needs more memory than there is' },
  EINVAL: { kind: 'invalid', says: 'can not be used like this' },
  ENAMETOOLONG: { kind: 'invalid', says: 'is too long for a path' },
  ELOOP: { kind: 'invalid', says: 'is a symbolic link that leads nowhere, or may not be one' },
  EBUSY: { kind: 'unavailable', says: 'is in use' },
  ENODEV: { kind: 'unavailable', says: 'is on a device that is not there' },
  ENXIO: { kind: 'unavailable', says: 'is on a device that is not there' },
  ESTALE: { kind: 'unavailable', says: 'is on a network file system that has lost it' },
  ETIMEDOUT: { kind: 'timeout', says: 'was not answered for in time by its file system' },
  EIO: {
    kind: 'unavailable',
    says: 'could not be read or written (input/output error)',
    hint: 'Check the disk: dmesg says more.',
  },
};

function fromSystemError(error: NodeJS.ErrnoException): SgwError | undefined {
  const row = error.code === undefined ? undefined : SYSTEM_ERRORS[error.code];
  if (row === undefined || error.code === undefined) return undefined;
  // Without a path it is about a number or a flag: a bug.
  if (error.code === 'EINVAL' && error.path === undefined) return undefined;
  const path = error.path ?? 'a file';
  return new SgwError(row.kind, `system-${error.code.toLowerCase()}`, `${path} ${row.says}`, {
    ...(row.hint === undefined ? {} : { hint: row.hint }),
    details: {
      ...(error.path === undefined ? {} : { path: error.path }),
      ...(error.syscall === undefined ? {} : { syscall: error.syscall }),
    },
    cause: error,
  });
}

/** Stops with `internal` when `condition` is false: an assertion about our own code, never about input. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new SgwError('internal', 'assertion', `assertion failed: ${message}`);
}

/** The reason of a signal that has fired, as an SgwError. */
export function abortReason(signal: AbortSignal): SgwError {
  const reason: unknown = signal.reason;
  return reason instanceof SgwError
    ? reason
    : new SgwError('aborted', 'aborted', 'stopped on request', { cause: reason });
}

/** Throws the signal's reason as an SgwError when it has fired. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw abortReason(signal);
}

/** Runs `work`; what it throws becomes an SgwError. */
export async function withSgwErrors<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw toSgwError(error);
  }
}
