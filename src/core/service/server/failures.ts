/** Refusals as the native API tells them: the status of their kind, and the error's document. */
import type { FastifyError, FastifyReply } from 'fastify';
import { ERROR_KINDS, SgwError, toSgwError, type Logger } from '../../kit/index.ts';
import { HEADERS, refusalText } from '../../objectstore/service/index.ts';

/** fastify's own refusals are of requests that can't be read. A bug is told as one, and what it was only to the log. */
function failureOf(error: unknown): SgwError {
  const { statusCode, code, message } = error as Partial<FastifyError>;
  const isRefusal = !(error instanceof SgwError) && code?.startsWith('FST_') === true && (statusCode ?? 500) < 500;
  if (!isRefusal) return toSgwError(error);
  return new SgwError('invalid', 'bad-request', `the request can not be read: ${message ?? ''}`, {
    details: { status: statusCode ?? 400 },
  });
}

/** Answers with the failure; `log` gets what nobody expected. */
export async function sendFailure(error: unknown, reply: FastifyReply, log: Logger): Promise<FastifyReply> {
  const failure = failureOf(error);
  const isBug = failure.kind === 'internal';
  if (isBug) log.error({ requestId: reply.request.id, err: failure }, 'a request found a bug');
  const told = isBug ? new SgwError('internal', 'internal', 'the service has a bug; its log tells more') : failure;
  const status = Number(failure.code === 'bad-request' ? failure.details['status'] : ERROR_KINDS[told.kind].httpStatus);
  const body = { error: told.toDocument() };
  const text = reply.request.method === 'HEAD' ? refusalText(JSON.stringify(body)) : undefined;
  if (text !== undefined) void reply.header(HEADERS.refusal, text);
  return await reply.code(status).header('cache-control', 'no-store').send(body);
}
