/** What a simulated S3 server says when it does not do what it was asked: errors of the form that the SDK throws. */

/** `reset`: no answer at all. `aborted`: by the client itself. */
type Answer =
  | 'noSuchKey'
  | 'notFound'
  | 'preconditionFailed'
  | 'conflict'
  | 'notImplemented'
  | 'internal'
  | 'slowDown'
  | 'badRange'
  | 'reset'
  | 'aborted';

/** Told in 404s without a body as well: by it the server is known. */
const REQUEST_ID = 'simulated';

function answered(status: number, code: string): Error {
  const $metadata = { httpStatusCode: status, requestId: REQUEST_ID };
  return Object.assign(new Error(code), { name: code, Code: code, $metadata });
}

export const answers: Readonly<Record<Answer, () => Error>> = {
  noSuchKey: () => answered(404, 'NoSuchKey'),
  /** To HEAD, whose answers have no body. */
  notFound: () => answered(404, 'NotFound'),
  preconditionFailed: () => answered(412, 'PreconditionFailed'),
  conflict: () => answered(409, 'ConditionalRequestConflict'),
  notImplemented: () => answered(501, 'NotImplemented'),
  internal: () => answered(500, 'InternalError'),
  slowDown: () => answered(503, 'SlowDown'),
  badRange: () => answered(416, 'InvalidRange'),
  /** No answer at all. */
  reset: () => Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' }),
  aborted: () => Object.assign(new Error('Request aborted'), { name: 'AbortError' }),
};

export const statusOf = (error: unknown): number | undefined =>
  (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode;
