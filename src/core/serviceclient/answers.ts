/** What a service answers: a document, or an error as one. */
import { SgwError, type ErrorDocument } from '../kit/index.ts';
import type { ChannelAnswer } from './channel.ts';

/** @throws the error that the service sent */
export function resultOf({ status, body }: ChannelAnswer, url: string): unknown {
  const document = parsed(body.toString('utf8'), status, url);
  if (status >= 200 && status < 300) return document;
  throw sentError(document) ?? badAnswer(url, status);
}

export function parsed(text: string, status: number, url: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw badAnswer(url, status, error);
  }
}

function sentError(document: unknown): SgwError | undefined {
  const error = (document as { readonly error?: Partial<ErrorDocument> } | null)?.error;
  if (typeof error?.code !== 'string' || typeof error.message !== 'string') return undefined;
  const { code, message, hint = null, details = {}, kind = 'internal' } = error;
  return SgwError.fromDocument({ code, message, hint, details, kind, retryable: false });
}

/** Something else than the service answered, or a part of the way to it. */
export function badAnswer(url: string, status: number, cause?: unknown): SgwError {
  const isOutage = status >= 500 || status === 429;
  return new SgwError(
    isOutage ? 'unavailable' : 'unsupported',
    isOutage ? 'service-answer-bad' : 'not-a-service',
    `${url} does not answer as a service of sgw does (HTTP status ${String(status)})`,
    {
      hint: "Check the address: it is that of the customers' listener of `sgw service run`.",
      details: { url, status },
      cause,
    },
  );
}
